// SPDX-License-Identifier: Apache-2.0
//! What a server notes about how long requests take.

use std::sync::Arc;
use std::time::Duration;

use remoting::{ServerConfig, Stages};
use stdx::Times;

use super::support::*;

async fn until(stages: &Stages, which: impl Fn(&Stages) -> Times, count: u64) -> Times {
    within(async {
        loop {
            // An answer may be here before it is noted that it left.
            let times = which(stages);
            if times.count() >= count {
                return times;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[tokio::test]
async fn every_request_is_counted_once_by_its_class() {
    let stages = Arc::new(Stages::default());
    let site = Site::open(ServerConfig { stages: stages.clone(), ..config() });
    let mut raw = site.raw().await;
    // 70 together, of which one half waits, then single ones of each kind; what nobody answers is no request.
    let mut frames: Vec<u8> = (0..70).flat_map(|n| encode(n as i32, false, &Gather(n), b"")).collect();
    frames.extend(encode(100, false, &Fill(10), b""));
    frames.extend(encode(101, true, &Echo(1), b""));
    frames.extend(encode(102, false, &Unknown(1), b""));
    frames.extend(encode(103, false, &Poll(0), b""));
    frames.extend(encode(104, false, &Wait(0), b""));
    raw.send(&frames).await;
    site.hall.waiting.reaches(37).await;
    let pause = Duration::from_millis(30);
    tokio::time::sleep(pause).await;
    site.hall.open.advance(100);
    for _ in 0..74 {
        raw.next().await.expect("an answer");
    }
    let sends = until(&stages, |stages| stages.sends.read(), 1).await;
    assert_eq!(sends.count(), 1);
    let waited = pause.as_nanos() as u64;
    assert!(sends.longest() >= waited, "waiting is part of it: {}", sends.longest());
    let pulls = stages.pulls.read();
    assert!(pulls.count() == 1 && pulls.longest() < waited, "a long poll that waited is not among them");
    let others = stages.others.read();
    assert_eq!(others.count(), 71);
    assert!(others.quantile(0.4) < waited && others.quantile(0.6) >= waited, "{others:?}");
    let queueing = stages.queueing.read();
    assert_eq!(queueing.count(), 74);
    // 71 answers of this class, the two pulls, the send and the refusal, less the one that nobody wants.
    let written = until(&stages, |stages| stages.write_out.read(), 74).await;
    assert_eq!(written.count(), 74);
}
