// Guest x86 code as generated host code in named, address-free text: what the golden snippets and the
// list of rows are made from.
//
// The real frontend, passes and code generator run, with a fixed mode word and all guest features; the
// code is never executed, so the result is the same on every host. One thread.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rhea/util/result.h"
#include "tests/golden/host_listing.h"

namespace rhea::golden {

/// A mode word by name: "user64", "kernel64", "real16", …; "mode names" otherwise as the error.
util::Result<std::uint32_t> mode_by_name(std::string_view name);

struct GuestSnippet {
    std::uint32_t mode = 0;
    std::uint16_t page_offset = 0x100;
    std::vector<std::uint8_t> bytes;
};

struct GuestInsnCode {
    std::string guest;  ///< as the disassembler writes it
    std::vector<HostLine> host;
};

struct SnippetCode {
    std::vector<GuestInsnCode> insns;  ///< hot path only
    std::vector<HostLine> cold;        ///< slow paths and taken branches; exit stubs are left out
    unsigned host = 0;                 ///< instructions of the hot path
    std::vector<std::string> calls;    ///< what the hot path calls and comes back from
};

class X86Code {
public:
    X86Code();
    ~X86Code();
    X86Code(const X86Code&) = delete;
    X86Code& operator=(const X86Code&) = delete;

    /// Fails when the generator refuses the block, or when it ends before the snippet does. What follows
    /// the snippet (a flag-setting instruction and a jump) is not in the result.
    util::Result<SnippetCode> translate(const GuestSnippet& snippet);

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace rhea::golden
