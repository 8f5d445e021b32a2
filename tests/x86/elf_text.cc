#include "tests/x86/elf_text.h"

#include <cstring>
#include <elf.h>
#include <fstream>

namespace rhea::target::x86::test {

std::vector<std::uint8_t> elf_text(const char *path) {
    std::ifstream in(path, std::ios::binary);
    std::vector<std::uint8_t> file;
    in.seekg(0, std::ios::end);
    if (in && in.tellg() > 0) {
        file.resize(static_cast<std::size_t>(in.tellg()));
    }
    in.seekg(0);
    in.read(reinterpret_cast<char *>(file.data()), static_cast<std::streamsize>(file.size()));
    if (!in) {
        return {};
    }
    Elf64_Ehdr header;
    if (file.size() < sizeof header) {
        return {};
    }
    std::memcpy(&header, file.data(), sizeof header);
    if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_shentsize != sizeof(Elf64_Shdr) ||
        header.e_shoff + std::uint64_t{header.e_shnum} * sizeof(Elf64_Shdr) > file.size()) {
        return {};
    }
    std::vector<std::uint8_t> text;
    for (unsigned n = 0; n < header.e_shnum; n++) {
        Elf64_Shdr section;
        std::memcpy(&section, file.data() + header.e_shoff + n * sizeof section, sizeof section);
        if (section.sh_type == SHT_PROGBITS && (section.sh_flags & SHF_EXECINSTR) &&
            section.sh_offset + section.sh_size <= file.size() && section.sh_size > text.size()) {
            text.assign(file.begin() + static_cast<std::ptrdiff_t>(section.sh_offset),
                        file.begin() + static_cast<std::ptrdiff_t>(section.sh_offset + section.sh_size));
        }
    }
    return text;
}

} // namespace rhea::target::x86::test
