#include "rhea/block/io_vector.h"

#include <gtest/gtest.h>

#include <numeric>

namespace rhea::block {
namespace {

/// 100 bytes 0..99 as pieces of 7.
struct Pieces {
    std::vector<std::uint8_t> bytes = std::vector<std::uint8_t>(100);
    IoVector vector;
    Pieces() {
        std::iota(bytes.begin(), bytes.end(), std::uint8_t{0});
        for (std::size_t at = 0; at < bytes.size(); at += 7)
            vector.append(bytes.data() + at, std::min<std::size_t>(7, bytes.size() - at));
    }
};

TEST(IoVectorTest, SlicesOfManyPiecesHoldTheirBytes) {
    Pieces pieces;
    EXPECT_EQ(pieces.vector.size(), 100u);
    EXPECT_EQ(pieces.vector.pieces().size(), 15u);
    for (std::size_t offset = 0; offset < 100; offset += 3)
        for (std::size_t length = 0; length <= 100 - offset; length += 5) {
            const IoVector part = pieces.vector.slice(offset, length);
            ASSERT_EQ(part.size(), length);
            std::vector<std::uint8_t> got(length);
            part.copy_to(0, got.data(), length);
            for (std::size_t i = 0; i < length; ++i)
                ASSERT_EQ(got[i], offset + i);
        }
}

TEST(IoVectorTest, CopyFillAndZeroKeepToTheirRange) {
    Pieces pieces;
    pieces.vector.fill(10, 0, 20);
    EXPECT_TRUE(pieces.vector.is_zero(10, 20));
    EXPECT_FALSE(pieces.vector.is_zero(9, 20));
    EXPECT_FALSE(pieces.vector.is_zero(11, 20));
    EXPECT_EQ(pieces.bytes[9], 9);
    EXPECT_EQ(pieces.bytes[30], 30);
    const std::uint8_t from[] = {1, 2, 3};
    pieces.vector.copy_from(13, from, 3);
    EXPECT_EQ(pieces.bytes[12], 0);
    EXPECT_EQ(pieces.bytes[15], 3);
    EXPECT_EQ(pieces.bytes[16], 0);
}

TEST(IoVectorTest, OnePieceIsContiguousAndEmptyOnesAreDropped) {
    std::uint8_t byte = 0;
    IoVector one(&byte, 1);
    one.append(&byte, 0);
    EXPECT_EQ(one.contiguous(), &byte);
    one.append(&byte, 1);
    EXPECT_EQ(one.contiguous(), nullptr);
    EXPECT_TRUE(IoVector().empty());
}

} // namespace
} // namespace rhea::block
