// SPDX-License-Identifier: Apache-2.0
//! Sockets as both ends want them: listening, dialing, and the options every connection has. Knows no protocol.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::TcpStream;

const BACKLOG: i32 = 1024;
/// A peer that vanished is noticed by the kernel after about this long, also while nothing is sent.
const VANISHED: Duration = Duration::from_secs(30);

/// Listens on `address`; an old connection that lingers does not block it.
pub(crate) fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Connects to `host:port`, trying each of its addresses, and gives up after `patience`.
pub(crate) async fn dial(address: &str, patience: Duration) -> io::Result<TcpStream> {
    let stream = tokio::time::timeout(patience, TcpStream::connect(address)).await.map_err(|_| {
        io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} ms", patience.as_millis()))
    })??;
    tune(&stream)?;
    Ok(stream)
}

/// Sets what every connection has: no delay of small writes, and notice of a peer that vanished.
pub(crate) fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let probes = TcpKeepalive::new().with_time(VANISHED).with_interval(VANISHED / 6).with_retries(3);
    socket.set_tcp_keepalive(&probes)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(VANISHED))?;
    Ok(())
}
