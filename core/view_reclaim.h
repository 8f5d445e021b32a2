// Reclamation of retired flat views: a view is freed once no registered reader can hold it.
//
// Epochs. A reader notes the epoch when it enters (or renews) its ViewGuard; retiring a view
// starts a new epoch. A view retired at the start of epoch E is free when every reader inside a
// guard has noted E or later. Any thread.
#pragma once
#include "rhea/core/memory.h"

namespace rhea::core {

/// Hands over a view that is no longer published anywhere.
void retire_view(const FlatView* view);

/// Views retired but not yet freed (tests).
std::size_t retired_view_count();

}  // namespace rhea::core
