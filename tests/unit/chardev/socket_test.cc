// Stream sockets, on the loopback interface and in the file system only.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>

#include "harness.h"

namespace rhea::chardev {
namespace {

int connect_unix(const std::string& path) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    std::strncpy(name.sun_path, path.c_str(), sizeof name.sun_path - 1);
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (::connect(fd, reinterpret_cast<sockaddr*>(&name), sizeof name) != 0) {
        ::close(fd);
        return -1;
    }
    return fd;
}

int connect_tcp(unsigned port) {
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_port = htons(static_cast<std::uint16_t>(port));
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (::connect(fd, reinterpret_cast<sockaddr*>(&name), sizeof name) != 0) {
        ::close(fd);
        return -1;
    }
    return fd;
}

class SocketTest : public ChardevTest {
  protected:
    /// A TCP server on a port that the host chooses; its backend, and the port in `port`.
    core::CharBackend* open_server(Device& device, unsigned& port) {
        auto* backend = open("tcp:127.0.0.1:0,server=on,wait=off", device);
        const std::string text = dynamic_cast<Chardev*>(backend)->describe();
        const std::size_t at = text.find("127.0.0.1:");
        port = static_cast<unsigned>(std::atoi(text.c_str() + at + 10));
        return backend;
    }
};

TEST_F(SocketTest, UnixServerTalksAndTakesTheNextClient) {
    Device device;
    const std::string path = folder_ + "/s";
    auto* backend = open("unix:" + path + ",server=on,wait=off", device);
    EXPECT_EQ(write(backend, "unheard"), 7u);
    for (unsigned round = 1; round <= 2; ++round) {
        const int client = connect_unix(path);
        ASSERT_GE(client, 0);
        EXPECT_TRUE(wait_for([&] { return device.opened == round; }));
        device.received.clear();
        ASSERT_EQ(::send(client, "hi", 2, 0), 2);
        EXPECT_TRUE(wait_for([&] { return device.received == "hi"; }));
        write(backend, "there");
        char buffer[16] = {};
        EXPECT_EQ(::recv(client, buffer, sizeof buffer, 0), 5);
        EXPECT_STREQ(buffer, "there");
        ::close(client);
        EXPECT_TRUE(wait_for([&] { return device.closed == round; }));
    }
}

TEST_F(SocketTest, TheSocketFileGoesWithTheServer) {
    const std::string path = folder_ + "/gone";
    {
        ChardevSet other(loop_, {[] {}, [](std::string_view) {}});
        ASSERT_TRUE(other.open_short("unix:" + path + ",server=on,wait=off", "x"));
        EXPECT_EQ(::access(path.c_str(), F_OK), 0);
    }
    EXPECT_NE(::access(path.c_str(), F_OK), 0);
}

TEST_F(SocketTest, AServerDoesNotReplaceAFile) {
    const std::string path = folder_ + "/precious";
    const int fd = ::open(path.c_str(), O_CREAT | O_WRONLY, 0600);
    ::close(fd);
    EXPECT_EQ(refusal("unix:" + path + ",server=on,wait=off"),
              "cannot listen on unix:" + path + ": Address already in use");
    EXPECT_EQ(::access(path.c_str(), F_OK), 0);
}

TEST_F(SocketTest, APortInUseIsRefusedByName) {
    Device device;
    unsigned port = 0;
    open_server(device, port);
    const std::string address = "tcp:127.0.0.1:" + std::to_string(port);
    EXPECT_EQ(refusal(address + ",server=on,wait=off"),
              "cannot listen on " + address + ": Address already in use");
}

TEST_F(SocketTest, TheOldFlagsMeanTheSame) {
    Device device;
    EXPECT_NE(open("tcp:127.0.0.1:0,server,nowait,nodelay", device), nullptr);
}

TEST_F(SocketTest, AClientThatNobodyAnswersIsRefused) {
    Device device;
    unsigned port = 0;
    {
        const int probe = ::socket(AF_INET, SOCK_STREAM, 0);
        sockaddr_in name{};
        name.sin_family = AF_INET;
        name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t length = sizeof name;
        ::bind(probe, reinterpret_cast<sockaddr*>(&name), length);
        ::getsockname(probe, reinterpret_cast<sockaddr*>(&name), &length);
        port = ntohs(name.sin_port);
        ::close(probe);
    }
    EXPECT_THAT(refusal("tcp:127.0.0.1:" + std::to_string(port)),
                testing::HasSubstr("Connection refused"));
    EXPECT_THAT(refusal("tcp:127.0.0.1:99999"), testing::HasSubstr("port 99999 does not exist"));
    EXPECT_THAT(refusal("tcp:nowhere"), testing::HasSubstr("lacks a port"));
}

TEST_F(SocketTest, ClientConnectsToServerOfTheSameProcess) {
    Device server_device, client_device;
    unsigned port = 0;
    auto* server = open_server(server_device, port);
    auto* client = open("tcp:127.0.0.1:" + std::to_string(port), client_device);
    EXPECT_TRUE(wait_for([&] { return server_device.opened == 1; }));
    write(server, "to client");
    write(client, "to server");
    EXPECT_TRUE(wait_for([&] {
        return server_device.received == "to server" && client_device.received == "to client";
    }));
}

TEST_F(SocketTest, AReconnectingClientWaitsForItsServer) {
    Device device;
    const std::string path = folder_ + "/late";
    auto* backend = open("unix:" + path + ",reconnect=1", device);
    settle();
    EXPECT_EQ(device.opened, 0u);
    Device server_device;
    auto* server = open("unix:" + path + ",server=on,wait=off", server_device);
    EXPECT_TRUE(wait_for([&] { return device.opened == 1 && server_device.opened == 1; }));
    write(server, "finally");
    EXPECT_TRUE(wait_for([&] { return device.received == "finally"; }));
    (void)backend;
}

TEST_F(SocketTest, ASlowReaderPushesBackAndLosesNothing) {
    Device device;
    unsigned port = 0;
    auto* backend = open_server(device, port);
    const int client = connect_tcp(port);
    ASSERT_GE(client, 0);
    ASSERT_TRUE(wait_for([&] { return device.opened == 1; }));

    const std::string chunk(64 * 1024, 'x');
    std::size_t sent = 0, taken = 0;
    while ((taken = write(backend, chunk)) == chunk.size()) {
        sent += taken;
        ASSERT_LT(sent, 256u << 20) << "the queue has no bound";
    }
    sent += taken;
    EXPECT_EQ(write(backend, chunk), 0u);

    std::size_t received = 0;
    std::string buffer(1 << 16, 0);
    EXPECT_TRUE(wait_for([&] {
        const ssize_t got = ::recv(client, buffer.data(), buffer.size(), MSG_DONTWAIT);
        received += got > 0 ? static_cast<std::size_t>(got) : 0;
        return received == sent;
    }));
    EXPECT_GE(device.writable, 1u);
    ::close(client);
}

TEST_F(SocketTest, ADeviceWithoutRoomPushesBackAndLosesNothing) {
    Device device;
    device.room = 4;
    unsigned port = 0;
    auto* backend = open_server(device, port);
    const int client = connect_tcp(port);
    ASSERT_EQ(::send(client, "abcdefgh", 8, 0), 8);
    ::close(client);  // what was sent before still arrives
    EXPECT_TRUE(wait_for([&] { return device.received == "abcd"; }));
    settle();
    EXPECT_EQ(device.received, "abcd");
    device.room = 3;
    accept(backend);
    EXPECT_TRUE(wait_for([&] { return device.received == "abcdefg"; }));
    device.room = 100;
    accept(backend);
    EXPECT_TRUE(wait_for([&] { return device.received == "abcdefgh" && device.closed == 1; }));
}

TEST_F(SocketTest, AReaderThatLeavesIsNoError) {
    Device device;
    unsigned port = 0;
    auto* backend = open_server(device, port);
    const int client = connect_tcp(port);
    ASSERT_TRUE(wait_for([&] { return device.opened == 1; }));
    ::close(client);
    for (int i = 0; i < 100; ++i) {
        write(backend, std::string(4096, 'y'));
    }
    EXPECT_TRUE(wait_for([&] { return device.closed == 1; }));
    EXPECT_EQ(write(backend, "z"), 1u);
}

TEST_F(SocketTest, TelnetAndTlsAreRefusedByName) {
    EXPECT_THAT(refusal("tcp:127.0.0.1:0,server=on,wait=off,telnet=on"),
                testing::HasSubstr("telnet=on"));
    EXPECT_THAT(refusal("tcp:127.0.0.1:0,server=on,wait=off,tls-creds=x"),
                testing::HasSubstr("tls-creds"));
    EXPECT_THAT(refusal("tcp:127.0.0.1:1,wait=off"), testing::HasSubstr("server=on"));
}

}  // namespace
}  // namespace rhea::chardev
