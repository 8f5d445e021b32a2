// libnbd, loaded when the first NBD node is opened: a program that uses none does not pay for it.
#pragma once
#include <libnbd.h>

#include "rhea/util/result.h"

namespace rhea::block {

/// Its functions, without their "nbd_".
struct LibNbd {
    decltype(&::nbd_create) create = nullptr;
    decltype(&::nbd_close) close = nullptr;
    decltype(&::nbd_get_error) get_error = nullptr;
    decltype(&::nbd_get_errno) get_errno = nullptr;
    decltype(&::nbd_set_export_name) set_export_name = nullptr;
    decltype(&::nbd_add_meta_context) add_meta_context = nullptr;
    decltype(&::nbd_aio_connect) aio_connect = nullptr;
    decltype(&::nbd_aio_connect_unix) aio_connect_unix = nullptr;
    decltype(&::nbd_aio_is_connecting) aio_is_connecting = nullptr;
    decltype(&::nbd_aio_is_dead) aio_is_dead = nullptr;
    decltype(&::nbd_aio_is_closed) aio_is_closed = nullptr;
    decltype(&::nbd_aio_get_fd) aio_get_fd = nullptr;
    decltype(&::nbd_aio_get_direction) aio_get_direction = nullptr;
    decltype(&::nbd_aio_notify_read) aio_notify_read = nullptr;
    decltype(&::nbd_aio_notify_write) aio_notify_write = nullptr;
    decltype(&::nbd_aio_disconnect) aio_disconnect = nullptr;
    decltype(&::nbd_aio_pread) aio_pread = nullptr;
    decltype(&::nbd_aio_pwrite) aio_pwrite = nullptr;
    decltype(&::nbd_aio_zero) aio_zero = nullptr;
    decltype(&::nbd_aio_trim) aio_trim = nullptr;
    decltype(&::nbd_aio_flush) aio_flush = nullptr;
    decltype(&::nbd_aio_block_status) aio_block_status = nullptr;
    decltype(&::nbd_get_size) get_size = nullptr;
    decltype(&::nbd_get_block_size) get_block_size = nullptr;
    decltype(&::nbd_is_read_only) is_read_only = nullptr;
    decltype(&::nbd_can_flush) can_flush = nullptr;
    decltype(&::nbd_can_fua) can_fua = nullptr;
    decltype(&::nbd_can_trim) can_trim = nullptr;
    decltype(&::nbd_can_zero) can_zero = nullptr;
    decltype(&::nbd_can_fast_zero) can_fast_zero = nullptr;
    decltype(&::nbd_can_meta_context) can_meta_context = nullptr;

    /// The functions, loaded once; the failure says what to install. Any thread.
    static util::Result<const LibNbd *> load();
};

} // namespace rhea::block
