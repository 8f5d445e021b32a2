// A wire with a level. Edge, level and MSI are the interrupt controller's business.
#pragma once
#include <functional>
#include <memory>
#include <utility>
#include <vector>

namespace rhea::core {

/// What sits at the far end of a wire. Called under the machine lock, also when the level did not
/// change (a controller decides whether a repeated level means anything).
class IrqSink {
public:
    virtual ~IrqSink() = default;
    virtual void set_irq(int input, bool level) = 0;
};

/// The near end: a copyable reference to one input of a sink. An unconnected line does nothing.
class IrqLine {
public:
    IrqLine() = default;
    IrqLine(IrqSink &sink, int input) : sink_(&sink), input_(input) {}
    bool connected() const { return sink_ != nullptr; }
    void set(bool level) const {
        if (sink_)
            sink_->set_irq(input_, level);
    }
    void raise() const { set(true); }
    void lower() const { set(false); }
    void pulse() const {
        set(true);
        set(false);
    }

private:
    IrqSink *sink_ = nullptr;
    int input_ = 0;
};

} // namespace rhea::core
