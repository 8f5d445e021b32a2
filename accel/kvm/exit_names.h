// Names of KVM's exit reasons (KVM API documentation, section 5), for counters and messages.
#pragma once
#include <string>

namespace rhea::accel {
std::string exit_reason_name(unsigned reason);
}
