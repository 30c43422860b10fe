// SPDX-License-Identifier: Apache-2.0
//! What the server is asked while its instructions are counted: requests as the Java client writes them, in pieces that
//! always come the same way. Knows nothing of the protocol but these bytes.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// A server under callgrind is fifty times as slow.
const PATIENCE: Duration = Duration::from_secs(120);
const TOPIC: &str = "counted";
/// Bytes of a body.
const BODY: usize = 1024;

/// Messages of a pull.
pub(super) const PULLED: u64 = 32;

/// One connection.
pub(super) struct Load {
    stream: TcpStream,
    number: u64,
    out: Vec<u8>,
}

impl Load {
    pub(super) fn connect(address: &str) -> Result<Load> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Load { stream, number: 0, out: Vec::new() })
    }

    /// Sends `turns` times `together` messages, which are written in one piece.
    pub(super) fn send(&mut self, turns: u64, together: u64) -> Result<()> {
        for _ in 0..turns {
            for _ in 0..together {
                let number = self.number;
                let fields = format!(
                    concat!(
                        r#""a":"producers","b":"{}","c":"TBW102","d":"4","e":"0","f":"0","g":"1700000000000","h":"0","#,
                        r#""i":"UNIQ_KEY\u00017F00000100001234{:016X}\u0002WAIT\u0001true\u0002TAGS\u0001TagA\u0002","#,
                        r#""j":"0","k":"false","m":"false","n":"broker""#
                    ),
                    TOPIC, number
                );
                self.put(310, &fields, &[b'x'; BODY]);
            }
            self.ask(together)?;
        }
        Ok(())
    }

    /// Says that it consumes what it sends.
    pub(super) fn join(&mut self) -> Result<()> {
        let body = format!(
            concat!(
                r#"{{"clientID":"counted","consumerDataSet":[{{"consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","#,
                r#""consumeType":"CONSUME_PASSIVELY","groupName":"consumers","messageModel":"CLUSTERING","#,
                r#""subscriptionDataSet":[{{"classFilterMode":false,"codeSet":[],"expressionType":"TAG","subString":"*","#,
                r#""subVersion":0,"tagsSet":[],"topic":"{}"}}],"unitMode":false}}],"producerDataSet":[]}}"#
            ),
            TOPIC
        );
        self.put(34, "", body.as_bytes());
        self.ask(1)
    }

    /// Pulls as often, each time the next messages, from the first on.
    pub(super) fn pull(&mut self, times: u64) -> Result<()> {
        for turn in 0..times {
            let fields = format!(
                concat!(
                    r#""consumerGroup":"consumers","topic":"{}","queueId":"0","queueOffset":"{}","maxMsgNums":"{}","#,
                    r#""sysFlag":"2","commitOffset":"0","suspendTimeoutMillis":"15000","subVersion":"0","#,
                    r#""expressionType":"TAG","maxMsgBytes":"2147483647""#
                ),
                TOPIC,
                turn * PULLED,
                PULLED
            );
            self.put(11, &fields, b"");
            self.ask(1)?;
        }
        Ok(())
    }

    fn put(&mut self, code: i32, fields: &str, body: &[u8]) {
        self.number += 1;
        let mut header = String::new();
        let _ = write!(
            header,
            concat!(
                r#"{{"code":{},"extFields":{{{}}},"flag":0,"language":"JAVA","opaque":{},"#,
                r#""serializeTypeCurrentRPC":"JSON","version":509}}"#
            ),
            code, fields, self.number
        );
        self.out.extend_from_slice(&((4 + header.len() + body.len()) as u32).to_be_bytes());
        self.out.extend_from_slice(&(header.len() as u32).to_be_bytes());
        self.out.extend_from_slice(header.as_bytes());
        self.out.extend_from_slice(body);
    }

    /// Writes what was put together and reads as many answers, all of success.
    fn ask(&mut self, answers: u64) -> Result<()> {
        self.stream.write_all(&self.out)?;
        self.out.clear();
        let mut left = answers;
        while left > 0 {
            let mut length = [0; 4];
            self.stream.read_exact(&mut length).context("no answer")?;
            let mut answer = vec![0; u32::from_be_bytes(length) as usize];
            self.stream.read_exact(&mut answer)?;
            let header = String::from_utf8_lossy(answer.get(4..).unwrap_or_default());
            // It also tells members of its own accord that their group has changed.
            if header.starts_with(r#"{"code":40,"#) {
                continue;
            }
            ensure!(header.starts_with(r#"{"code":0,"#), "{header:.500}");
            left -= 1;
        }
        Ok(())
    }
}
