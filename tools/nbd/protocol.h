// Numbers of the NBD protocol. Source: the NBD project's doc/proto.md.
#pragma once
#include <cstdint>

namespace rhea::nbd {

inline constexpr std::uint64_t kInitMagic = 0x4e42444d41474943;    // "NBDMAGIC"
inline constexpr std::uint64_t kOptionMagic = 0x49484156454f5054;  // "IHAVEOPT"
inline constexpr std::uint64_t kReplyMagic = 0x3e889045565a9;      // of option replies
inline constexpr std::uint32_t kRequestMagic = 0x25609513;
inline constexpr std::uint32_t kSimpleReplyMagic = 0x67446698;
inline constexpr std::uint32_t kStructuredReplyMagic = 0x668e33ef;

// Handshake flags, of the server and of the client.
inline constexpr std::uint16_t kFixedNewstyle = 1, kNoZeroes = 2;

enum NbdOption : std::uint32_t {
    kOptExportName = 1,
    kOptAbort = 2,
    kOptList = 3,
    kOptStartTls = 5,
    kOptInfo = 6,
    kOptGo = 7,
    kOptStructuredReply = 8,
    kOptListMetaContext = 9,
    kOptSetMetaContext = 10,
};

enum OptionReply : std::uint32_t {
    kRepAck = 1,
    kRepServer = 2,
    kRepInfo = 3,
    kRepMetaContext = 4,
    kRepErrUnsupported = 0x80000001,
    kRepErrPolicy = 0x80000002,
    kRepErrInvalid = 0x80000003,
    kRepErrUnknown = 0x80000006,
    kRepErrTooBig = 0x80000009,
};

enum InfoType : std::uint16_t { kInfoExport = 0, kInfoName = 1, kInfoDescription = 2, kInfoBlockSize = 3 };

// Transmission flags.
inline constexpr std::uint16_t kHasFlags = 1 << 0, kReadOnly = 1 << 1, kSendFlush = 1 << 2, kSendFua = 1 << 3,
                               kSendTrim = 1 << 5, kSendWriteZeroes = 1 << 6, kSendDontFragment = 1 << 7, kCanMultiConnect = 1 << 8,
                               kSendCache = 1 << 10, kSendFastZero = 1 << 11;

enum CommandType : std::uint16_t {
    kCmdRead = 0,
    kCmdWrite = 1,
    kCmdDisconnect = 2,
    kCmdFlush = 3,
    kCmdTrim = 4,
    kCmdCache = 5,
    kCmdWriteZeroes = 6,
    kCmdBlockStatus = 7,
};

// Command flags.
inline constexpr std::uint16_t kFlagFua = 1, kFlagNoHole = 2, kFlagDontFragment = 4, kFlagReqOne = 8, kFlagFastZero = 16;

// Structured reply chunks.
inline constexpr std::uint16_t kChunkDone = 1;
enum ChunkType : std::uint16_t {
    kChunkNone = 0,
    kChunkOffsetData = 1,
    kChunkOffsetHole = 2,
    kChunkBlockStatus = 5,
    kChunkError = (1 << 15) | 1,
};

// base:allocation.
inline constexpr std::uint32_t kStateHole = 1, kStateZero = 2;
inline constexpr std::uint32_t kAllocationContext = 1;  ///< its id in this server

// Error numbers on the wire.
inline constexpr std::uint32_t kPermission = 1, kIo = 5, kNoMemory = 12, kInvalid = 22, kNoSpace = 28,
                               kOverflow = 75, kNotSupported = 95, kShutdown = 108;

/// The largest payload of a request, and what an option may carry.
inline constexpr std::uint32_t kMaxPayload = 32u << 20;
inline constexpr std::uint32_t kMaxOptionLength = 16u << 10;

}  // namespace rhea::nbd
