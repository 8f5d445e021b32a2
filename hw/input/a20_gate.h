// The A20 gate and the two switches of a PC that move it: the keyboard controller's output port and
// port 0x92. Whoever wrote last decides, so that either can open and close it. Under the machine
// lock.
#pragma once
#include <functional>

#include "rhea/core/device.h"
#include "rhea/core/irq.h"

namespace rhea::hw {

class A20Gate final : public core::Device, public core::IrqSink {
  public:
    /// `changed(open)` is called when the gate opens (addresses pass whole) or closes (bit 20 is
    /// held at zero). It starts open. May be empty.
    explicit A20Gate(std::function<void(bool open)> changed = {}) : changed_(std::move(changed)) {}

    [[nodiscard]] bool open() const { return open_; }
    [[nodiscard]] core::IrqLine line() { return {*this, 0}; }
    void set_irq(int, bool level) override {
        if (level != open_) {
            open_ = level;
            report();
        }
    }

    [[nodiscard]] std::string_view type() const override { return "a20-gate"; }
    void reset() override { set_irq(0, true); }
    void serialize(core::Archive& archive) override {
        archive.field("open", open_);
        if (archive.restoring()) {
            report();
        }
    }

  private:
    void report() const {
        if (changed_) {
            changed_(open_);
        }
    }

    std::function<void(bool)> changed_;
    bool open_ = true;
};

}  // namespace rhea::hw
