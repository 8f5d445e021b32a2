#include "block/nbd/libnbd.h"

#include <dlfcn.h>

#include <cerrno>
#include <string>

namespace rhea::block {

namespace {

constexpr const char *kLibrary = "libnbd.so.0";

util::Result<LibNbd> load_all() {
    void *library = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        const char *why = dlerror();
        return util::fail(util::Error("NBD needs {}, which cannot be loaded ({}); install libnbd0", kLibrary, why ? why : "no reason")
                              .with_code(ENOTSUP));
    }
    LibNbd functions;
    const auto name = [](const char *function) { return std::string("nbd_") + function; };
    std::string missing;
    const auto bind = [&](const char *function, void **to) {
        *to = dlsym(library, name(function).c_str());
        if (!*to)
            missing = name(function);
    };
    const struct {
        const char *name;
        void **function;
    } kFunctions[] = {
        {"create", reinterpret_cast<void **>(&functions.create)},
        {"close", reinterpret_cast<void **>(&functions.close)},
        {"get_error", reinterpret_cast<void **>(&functions.get_error)},
        {"get_errno", reinterpret_cast<void **>(&functions.get_errno)},
        {"set_export_name", reinterpret_cast<void **>(&functions.set_export_name)},
        {"add_meta_context", reinterpret_cast<void **>(&functions.add_meta_context)},
        {"aio_connect", reinterpret_cast<void **>(&functions.aio_connect)},
        {"aio_connect_unix", reinterpret_cast<void **>(&functions.aio_connect_unix)},
        {"aio_is_connecting", reinterpret_cast<void **>(&functions.aio_is_connecting)},
        {"aio_is_dead", reinterpret_cast<void **>(&functions.aio_is_dead)},
        {"aio_is_closed", reinterpret_cast<void **>(&functions.aio_is_closed)},
        {"aio_get_fd", reinterpret_cast<void **>(&functions.aio_get_fd)},
        {"aio_get_direction", reinterpret_cast<void **>(&functions.aio_get_direction)},
        {"aio_notify_read", reinterpret_cast<void **>(&functions.aio_notify_read)},
        {"aio_notify_write", reinterpret_cast<void **>(&functions.aio_notify_write)},
        {"aio_disconnect", reinterpret_cast<void **>(&functions.aio_disconnect)},
        {"aio_pread", reinterpret_cast<void **>(&functions.aio_pread)},
        {"aio_pwrite", reinterpret_cast<void **>(&functions.aio_pwrite)},
        {"aio_zero", reinterpret_cast<void **>(&functions.aio_zero)},
        {"aio_trim", reinterpret_cast<void **>(&functions.aio_trim)},
        {"aio_flush", reinterpret_cast<void **>(&functions.aio_flush)},
        {"aio_block_status", reinterpret_cast<void **>(&functions.aio_block_status)},
        {"get_size", reinterpret_cast<void **>(&functions.get_size)},
        {"get_block_size", reinterpret_cast<void **>(&functions.get_block_size)},
        {"is_read_only", reinterpret_cast<void **>(&functions.is_read_only)},
        {"can_flush", reinterpret_cast<void **>(&functions.can_flush)},
        {"can_fua", reinterpret_cast<void **>(&functions.can_fua)},
        {"can_trim", reinterpret_cast<void **>(&functions.can_trim)},
        {"can_zero", reinterpret_cast<void **>(&functions.can_zero)},
        {"can_fast_zero", reinterpret_cast<void **>(&functions.can_fast_zero)},
        {"can_meta_context", reinterpret_cast<void **>(&functions.can_meta_context)},
    };
    for (const auto &each : kFunctions)
        bind(each.name, each.function);
    if (!missing.empty())
        return util::fail(util::Error("{} has no {}; NBD needs libnbd 1.14 or newer", kLibrary, missing).with_code(ENOTSUP));
    return functions;
}

} // namespace

util::Result<const LibNbd *> LibNbd::load() {
    static const util::Result<LibNbd> functions = load_all();
    if (!functions)
        return util::fail(functions.error());
    return &*functions;
}

} // namespace rhea::block
