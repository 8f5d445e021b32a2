// Changing key slots. The material comes before the header on stable storage: a slot that the header calls active opens, unless it was
// being erased, and one that it calls empty has nothing left.
#include <algorithm>
#include <cerrno>

#include "block/crypto/luks_slots.h"
#include "rhea/block/secret.h"

namespace rhea::block::crypto {

namespace {

std::uint64_t material_at(const LuksPlace &place, const LuksHeader &header, std::size_t slot) {
    return place.at + std::uint64_t{header.slots[slot].sector} * SectorCipher::kSector;
}

std::size_t active_slots(const LuksHeader &header) {
    return static_cast<std::size_t>(std::ranges::count_if(header.slots, [](const auto &slot) { return slot.active; }));
}

template <typename... Parts>
util::Failure refuse(const LuksPlace &place, int code, fmt::format_string<Parts...> format, Parts &&...parts) {
    return util::fail(util::Error("{}: {}", place.filename, fmt::vformat(format, fmt::make_format_args(parts...))).with_code(code));
}

Task<Result<void>> store(const LuksPlace &place, std::uint64_t offset, std::vector<std::uint8_t> bytes) {
    const IoVector all(bytes.data(), bytes.size());
    auto done = co_await place.file.write(offset, all);
    if (done)
        done = co_await place.file.flush();
    if (!done)
        co_return refuse(place, done.error().code(), "cannot write the LUKS header: {}", done.error().message());
    co_return done;
}

Task<Result<void>> store_header(const LuksPlace &place, const LuksHeader &header) {
    auto storing = store(place, place.at, serialise_luks_header(header));
    co_return co_await storing;
}

Task<Result<void>> erase(const LuksPlace &place, LuksHeader &header, std::size_t slot) {
    std::vector<std::uint8_t> noise(header.material_bytes());
    if (auto done = random_bytes(noise); !done)
        co_return done;
    auto overwriting = store(place, material_at(place, header, slot), std::move(noise));
    auto done = co_await overwriting;
    if (!done)
        co_return done;
    header.slots[slot].active = false;
    header.slots[slot].iterations = 0;
    header.slots[slot].salt.fill(0);
    auto storing = store_header(place, header);
    co_return co_await storing;
}

Result<std::size_t> slot_to_fill(const LuksPlace &place, const LuksHeader &header, const LuksAmendment &amendment) {
    if (amendment.slot) {
        if (header.slots[*amendment.slot].active && !amendment.force)
            return refuse(place, EEXIST, "key slot {} is active; erase it first, or say --force", *amendment.slot);
        return *amendment.slot;
    }
    for (std::size_t slot = 0; slot < kLuksSlots; ++slot)
        if (!header.slots[slot].active)
            return slot;
    return refuse(place, ENOSPC, "all {} key slots are active; erase one first", kLuksSlots);
}

Task<Result<void>> fill(const LuksPlace &place, LuksHeader &header, const LuksAmendment &amendment) {
    auto slot = slot_to_fill(place, header, amendment);
    if (!slot)
        co_return util::fail(slot.error());
    auto passphrase = find_secret(place.secret), fresh = find_secret(amendment.new_secret);
    for (const auto *each : {&passphrase, &fresh})
        if (!*each)
            co_return refuse(place, each->error().code(), "{}", each->error().message());
    auto unlocking = unlock_luks(place.file, place.at, header, *passphrase, place.filename);
    auto key = co_await unlocking;
    if (!key)
        co_return util::fail(key.error());
    std::uint64_t spent = header.digest_iterations;
    for (std::size_t i = 0; i < kLuksSlots; ++i)
        spent += header.slots[i].active && i != *slot ? std::uint64_t{header.slots[i].iterations} + header.digest_iterations : 0;
    if (spent + 2 * kLeastLuksIterations > kMaxLuksIterations)
        co_return refuse(place, ENOSPC, "its active key slots take {} iterations to try already; erase one first", spent);
    const std::uint64_t left = (kMaxLuksIterations - spent) / 2; // something stays for the next one
    LuksHeader changed = header;
    Result<std::vector<std::uint8_t>> material;
    std::function<std::int64_t()> work = [&] {
        const std::uint32_t rounds = luks_rounds(changed, amendment.iter_time_ms, left);
        material = fill_luks_slot(changed, *slot, key->span(), *fresh, rounds);
        return std::int64_t{0};
    };
    auto working = place.file.context().in_pool(std::move(work));
    co_await working;
    if (!material)
        co_return util::fail(material.error());
    if (header.slots[*slot].active) { // --force
        auto erasing = erase(place, header, *slot);
        auto erased = co_await erasing;
        if (!erased)
            co_return erased;
    }
    auto writing = store(place, material_at(place, header, *slot), std::move(*material));
    auto done = co_await writing;
    if (!done)
        co_return done;
    header = changed;
    auto storing = store_header(place, header);
    co_return co_await storing;
}

/// Which slots old-secret= opens.
Task<Result<std::vector<std::size_t>>> slots_of(const LuksPlace &place, const LuksHeader &header, std::string secret) {
    auto passphrase = find_secret(secret);
    if (!passphrase)
        co_return refuse(place, passphrase.error().code(), "{}", passphrase.error().message());
    std::vector<std::size_t> found;
    for (std::size_t slot = 0; slot < kLuksSlots; ++slot) {
        if (!header.slots[slot].active)
            continue;
        auto trying = try_luks_slot(place.file, place.at, header, slot, *passphrase, place.filename);
        auto key = co_await trying;
        if (!key)
            co_return util::fail(key.error());
        if (*key)
            found.push_back(slot);
    }
    co_return found;
}

Task<Result<void>> empty(const LuksPlace &place, LuksHeader &header, const LuksAmendment &amendment) {
    std::vector<std::size_t> slots;
    if (!amendment.old_secret.empty()) {
        auto finding = slots_of(place, header, amendment.old_secret);
        auto found = co_await finding;
        if (!found)
            co_return util::fail(found.error());
        slots = std::move(*found);
        if (slots.empty())
            co_return refuse(place, ENOENT, "no key slot opens with the passphrase of old-secret={}", amendment.old_secret);
    }
    if (amendment.slot) {
        const std::size_t slot = *amendment.slot;
        if (!header.slots[slot].active)
            co_return refuse(place, ENOENT, "key slot {} is empty already", slot);
        if (!amendment.old_secret.empty() && std::ranges::find(slots, slot) == slots.end())
            co_return refuse(place, EACCES, "key slot {} does not open with the passphrase of old-secret={}", slot, amendment.old_secret);
        slots = {slot};
    }
    if (slots.size() == active_slots(header) && !amendment.force)
        co_return refuse(place, EBUSY, "no other key slot is active: erasing would lose all data for ever; --force does it");
    for (const std::size_t slot : slots) {
        auto erasing = erase(place, header, slot);
        auto done = co_await erasing;
        if (!done)
            co_return done;
    }
    co_return Result<void>{};
}

} // namespace

Result<LuksAmendment> take_luks_amendment(NodeOptions &options, std::string_view prefix, bool force) {
    LuksAmendment out;
    out.force = force;
    const auto state = options.take("state");
    if (!state)
        return util::fail("{}state= is missing; it takes active or inactive", prefix);
    if (*state != "active" && *state != "inactive")
        return util::fail("{}state= takes active or inactive, not '{}'", prefix, *state);
    out.activate = *state == "active";
    if (options.has("keyslot")) {
        auto slot = options.take_unsigned("keyslot", 0);
        if (!slot || *slot >= kLuksSlots)
            return util::fail("{}keyslot= takes a number from 0 to {}", prefix, kLuksSlots - 1);
        out.slot = static_cast<unsigned>(*slot);
    }
    out.new_secret = options.take("new-secret").value_or("");
    out.old_secret = options.take("old-secret").value_or("");
    if (!out.activate && options.has("iter-time"))
        return util::fail("{}iter-time= is for state=active", prefix);
    auto time = take_iter_time(options, prefix, out.iter_time_ms);
    if (!time)
        return util::fail(time.error());
    out.iter_time_ms = *time;
    if (out.activate && out.new_secret.empty())
        return util::fail("{}state=active needs {}new-secret=ID, which names the object that has the passphrase: secret,id=ID,file=…", prefix, prefix);
    if (out.activate && !out.old_secret.empty())
        return util::fail("{}old-secret= is for state=inactive", prefix);
    if (!out.activate && !out.new_secret.empty())
        return util::fail("{}new-secret= is for state=active", prefix);
    if (!out.activate && !out.slot && out.old_secret.empty())
        return util::fail("{}state=inactive needs {}keyslot= or {}old-secret=, which say what is to be erased", prefix, prefix, prefix);
    return out;
}

Task<Result<void>> amend_luks(LuksPlace place, LuksHeader &header, LuksAmendment amendment) {
    auto changing = amendment.activate ? fill(place, header, amendment) : empty(place, header, amendment);
    co_return co_await changing;
}

} // namespace rhea::block::crypto
