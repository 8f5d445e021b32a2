// Names for what generated code refers to: thunks by their address, guest state by its displacement
// from the state register. Immutable once made.
#pragma once
#include <cstdint>
#include <map>
#include <string>

#include "tcg/backend/x64/layout.h"
#include "tcg/backend/x64/thunks.h"

namespace rhea::golden {

/// By address; helpers as "helper.NAME".
std::map<std::uint64_t, std::string> thunk_names(const tcg::x64::Thunks& thunks,
                                                 const tcg::GuestDescription& guest);

/// By displacement from rbp. A byte inside a field is "field+N".
class StateNames {
public:
    StateNames(const tcg::x64::Layout& layout, const tcg::GuestDescription& guest);
    std::string operator()(std::int32_t displacement) const;

private:
    struct Field {
        std::string name;
        unsigned size = 0;
    };
    std::map<std::int32_t, Field> fields_;
};

}  // namespace rhea::golden
