#include "tcg/backend/interp/interp_vector.h"

namespace rhea::tcg::interp::rows {

void v_zero(VectorCall &call) { call.result = {}; }
void v_from_i32(VectorCall &call) { call.result = {call.a.low & 0xffffffffu, 0}; }
void v_from_i64(VectorCall &call) { call.result = {call.a.low, 0}; }
void v_to_i32(VectorCall &call) { call.result = {call.a.low & 0xffffffffu, 0}; }
void v_to_i64(VectorCall &call) { call.result = {call.a.low, 0}; }

} // namespace rhea::tcg::interp::rows
