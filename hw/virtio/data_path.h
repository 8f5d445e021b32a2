// Runs the queues of one virtio device in an IoContext: waits for the driver's notifications and lets the device look at the
// queue, which starts requests.
//
// start() and stop() belong to the control side (under the machine lock); everything between happens in the context's
// thread, which is never the main thread nor a vCPU's and never waits for the machine lock, so stop() may wait for it.
// Invariant: after stop() no request is in flight and nobody touches the rings.
#pragma once
#include <vector>

#include "rhea/block/co_sync.h"
#include "rhea/block/io_context.h"

namespace rhea::hw::virtio {

class DataPath {
public:
    /// The device, in the context's thread.
    class Client {
    public:
        virtual ~Client() = default;
        /// The data path begins: requests that were kept come first.
        virtual void data_path_started() {}
        /// The driver notified queue `index`, or may have before the start.
        virtual void queue_notified(unsigned index) = 0;
    };
    struct Lane {
        unsigned queue;
        int notifier; ///< an eventfd
    };

    explicit DataPath(Client &client) : client_(client) {}
    ~DataPath() { stop(); }
    DataPath(const DataPath &) = delete;
    DataPath &operator=(const DataPath &) = delete;

    bool running() const { return context_ != nullptr; }
    void start(block::IoContext &context, std::vector<Lane> lanes);
    /// Waits until requests in flight are done.
    void stop();

    // The context's thread.
    void request_begins() { ++in_flight_; }
    void request_ends() {
        if (--in_flight_ == 0 && stopping_)
            idle_.wake_all();
    }

private:
    block::Task<void> serve(Lane lane);
    block::Task<void> finish();

    Client &client_;
    block::IoContext *context_ = nullptr;
    std::vector<Lane> lanes_;
    // The context's thread.
    bool stopping_ = false;
    unsigned loops_ = 0, in_flight_ = 0;
    block::CoQueue idle_;
};

} // namespace rhea::hw::virtio
