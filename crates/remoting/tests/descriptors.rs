// SPDX-License-Identifier: Apache-2.0
//! A process that has no descriptor left: whoever connects is closed at once, nothing spins, and it serves again as soon as
//! there is one. Alone in its process, whose limit it changes.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use remoting::{Router, Server, ServerConfig};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};
use stdx::SystemClock;

fn allow(descriptors: u64) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(descriptors), maximum }).expect("less than the most");
}

fn socket() -> Socket {
    Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket")
}

/// Says whether the other end closes within a second.
fn is_closed(socket: Socket) -> bool {
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(1))).expect("a time");
    match stream.read(&mut [0]) {
        Ok(0) => true,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
        Ok(_) => false,
    }
}

fn serves(server: &Server, connections: usize) {
    let end = Instant::now() + Duration::from_secs(5);
    while server.usage().connections != connections {
        assert!(Instant::now() < end, "{:?} though there are descriptors", server.usage());
        std::thread::yield_now();
    }
}

#[test]
fn without_a_descriptor_a_connection_is_closed_and_not_left_waiting() {
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let router: Router<()> = Router::new();
    let server = Server::bind(
        local,
        ServerConfig::default(),
        router,
        Arc::new(()),
        SystemClock::new(),
        Arc::new(|_| {}),
    )
    .expect("a server");
    let address = server.local_addr().into();
    let first = TcpStream::connect(server.local_addr()).expect("there are descriptors");
    serves(&server, 1);
    let before = getrlimit(Resource::Nofile).current.expect("a limit");
    let mut sockets: Vec<Socket> = (0..5).map(|_| socket()).collect();
    // Made without a gap, the next one is where the limit has to be.
    let next = socket();
    allow(std::os::fd::AsRawFd::as_raw_fd(&next) as u64);
    drop(next);
    for socket in sockets.drain(..4) {
        socket.connect(&address).expect("the listener takes it");
        assert!(is_closed(socket), "it hangs");
        // Its number is free now, and would be one descriptor more. The listener holds one for the moment in which it looks
        // whether somebody is there.
        let end = Instant::now() + Duration::from_secs(5);
        let open = loop {
            match std::fs::File::open("/dev/null") {
                Err(_) if Instant::now() < end => std::thread::yield_now(),
                open => break open,
            }
        };
        std::mem::forget(open.expect("a number that was given back"));
    }
    allow(before);
    let last = sockets.pop().expect("the fifth");
    last.connect(&address).expect("the listener takes it");
    serves(&server, 2);
    assert!(!is_closed(last));
    drop(first);
    server.shutdown(Duration::ZERO);
}
