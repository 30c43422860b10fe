// SPDX-License-Identifier: Apache-2.0
//! `kiruna bench echo`: the machine's ceiling. It reads frames, answers each with a small fixed success and stores
//! nothing; it looks at no more of a request than the number that its answer must carry.

use std::io;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use bytes::{Buf, BytesMut};
use clap::Args;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// Flags of `kiruna bench echo`.
#[derive(Args, Debug)]
pub(crate) struct EchoArgs {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

/// Frames above this are not answered but end the connection.
const MAX_FRAME: usize = 16 << 20;

pub(super) fn run(args: EchoArgs) -> Result<()> {
    let mut echo = Echo::start(args.listen)?;
    println!("ready echo={}", echo.address);
    match echo.threads.take() {
        Some(threads) => Ok(threads.block_on(&mut echo.accepting)??),
        None => Ok(()),
    }
}

/// A server that runs on threads of its own until it is dropped.
pub(super) struct Echo {
    pub(super) address: SocketAddr,
    threads: Option<Runtime>,
    accepting: JoinHandle<io::Result<()>>,
}

impl Echo {
    /// Starts it. Not to be called from a future.
    pub(super) fn start(listen: SocketAddr) -> Result<Echo> {
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("echo")
            .enable_all()
            .build()?;
        let listening = threads.block_on(TcpListener::bind(listen));
        let listener = listening.with_context(|| format!("cannot listen on {listen}"))?;
        let address = listener.local_addr()?;
        let accepting = threads.spawn(accept(listener));
        Ok(Echo { address, threads: Some(threads), accepting })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

async fn accept(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            // A peer that goes away is the ordinary end of a run.
            let _ = serve(stream).await;
        });
    }
}

async fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = BytesMut::with_capacity(1 << 18);
    let mut output = Vec::with_capacity(1 << 16);
    loop {
        input.reserve(1 << 17);
        if stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
        output.clear();
        while let Some(frame) = take_frame(&mut input)? {
            answer(&frame, &mut output)?;
        }
        stream.write_all(&output).await?;
    }
}

fn take_frame(input: &mut BytesMut) -> io::Result<Option<BytesMut>> {
    let Some(length) = input.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes) as usize) else {
        return Ok(None);
    };
    if !(4..=MAX_FRAME).contains(&length) {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    if input.len() < 4 + length {
        return Ok(None);
    }
    input.advance(4);
    Ok(Some(input.split_to(length)))
}

const JSON_HEAD: &[u8] = br#"{"code":0,"flag":1,"language":"JAVA","opaque":"#;
const JSON_TAIL: &[u8] = br#","version":513,"extFields":{"queueId":"0","queueOffset":"0","msgId":"7F00000100002A9F0000000000000000"},"serializeTypeCurrentRPC":"JSON"}"#;

fn answer(frame: &[u8], output: &mut Vec<u8>) -> io::Result<()> {
    let refused = || io::Error::from(io::ErrorKind::InvalidData);
    let (head, rest) = frame.split_at_checked(4).ok_or_else(refused)?;
    if head[0] == 1 {
        let opaque = rest.get(5..9).ok_or_else(refused)?;
        let fields: [(&[u8], &[u8]); 3] =
            [(b"queueId", b"0"), (b"queueOffset", b"0"), (b"msgId", b"7F00000100002A9F0000000000000000")];
        let fields_len: usize = fields.iter().map(|(name, value)| 6 + name.len() + value.len()).sum();
        let header_len = 21 + fields_len;
        output.extend_from_slice(&(header_len as u32 + 4).to_be_bytes());
        output.extend_from_slice(&(1u32 << 24 | header_len as u32).to_be_bytes());
        output.extend_from_slice(&[0, 0, 0, 2, 1]);
        output.extend_from_slice(opaque);
        output.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0]);
        output.extend_from_slice(&(fields_len as u32).to_be_bytes());
        for (name, value) in fields {
            output.extend_from_slice(&(name.len() as u16).to_be_bytes());
            output.extend_from_slice(name);
            output.extend_from_slice(&(value.len() as u32).to_be_bytes());
            output.extend_from_slice(value);
        }
        return Ok(());
    }
    let header_len = u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize;
    let header = rest.get(..header_len).ok_or_else(refused)?;
    let name = br#""opaque":"#;
    let at = header.windows(name.len()).position(|window| window == name).ok_or_else(refused)? + name.len();
    let digits = header[at..].iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'-').count();
    let length = (JSON_HEAD.len() + digits + JSON_TAIL.len()) as u32;
    output.extend_from_slice(&(length + 4).to_be_bytes());
    output.extend_from_slice(&length.to_be_bytes());
    output.extend_from_slice(JSON_HEAD);
    output.extend_from_slice(&header[at..at + digits]);
    output.extend_from_slice(JSON_TAIL);
    Ok(())
}
