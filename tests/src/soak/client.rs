//! One client of the soak: a connection over the streamer's verified protocol, with one of the manners
//! that real clients have.

use super::dice::Dice;
use super::record::{End, Manner, Record};
use crate::lab::clock::realtime_ns;
use crate::streamer::frame::{block, framed};
use crate::streamer::load::Orders;
use crate::streamer::session::{Heard, Session, keep_alive};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// No answer may take longer. Far more than any retransmission needs, and than a server stands still.
const PATIENCE: Duration = Duration::from_mins(1);
/// A probe after every second of silence: often enough that no silence looks like an end.
const PROBE: Duration = Duration::from_secs(1);
/// Connections that are told to end do so within this time, one after the other.
const RAMP_MS: u64 = 2000;

/// What one client does.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) manner: Manner,
    /// Where it comes from; port 0 leaves the port to the kernel.
    pub(super) source: SocketAddr,
    pub(super) vip: SocketAddr,
    /// Its bytes.
    seed: u64,
    dice: Dice,
}

/// Runs one client to its end. An error means that it could not even begin: no free port, for instance.
pub(super) async fn run(mut plan: Plan, mut orders: watch::Receiver<Orders>) -> io::Result<Record> {
    let socket = if plan.source.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(plan.source)?;
    let client = socket.local_addr()?;
    let mut record = Record {
        manner: plan.manner,
        client,
        vip: plan.vip,
        began_ns: realtime_ns(),
        opened_ns: None,
        host: None,
        cut_ns: None,
        ended_ns: 0,
        end: End::Kept,
        blocks: 0,
    };
    record.end = connect(socket, &mut plan, &mut record, &mut orders).await?;
    record.ended_ns = realtime_ns();
    Ok(record)
}

async fn connect(
    socket: TcpSocket,
    plan: &mut Plan,
    record: &mut Record,
    orders: &mut watch::Receiver<Orders>,
) -> io::Result<End> {
    if plan.manner == Manner::Abandon {
        // The SYN leaves, and the socket is gone before its answer is back.
        drop(timeout(Duration::ZERO, socket.connect(plan.vip)).await);
        return Ok(End::Abandoned);
    }
    let stream = match timeout(PATIENCE, socket.connect(plan.vip)).await {
        Ok(Ok(stream)) => stream,
        // The port was used a moment ago, and its last packets may still be under way.
        Ok(Err(error)) if error.kind() == io::ErrorKind::AddrNotAvailable => return Err(error),
        Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
            return Ok(End::Unopened(error.to_string()));
        }
        Ok(Err(error)) => return Ok(End::Broken(error.to_string())),
        Err(_) => return Ok(End::Unopened("no answer".to_owned())),
    };
    record.opened_ns = Some(realtime_ns());
    let mut session = match open(stream, plan).await {
        Ok(session) => session,
        Err(error) => return Ok(End::Broken(format!("before the first answer: {error}"))),
    };
    record.host = Some(session.banner.name.clone());
    let ended = match converse(&mut session, plan, record, orders).await {
        Ok(None) => leave(session, plan, record).await,
        Ok(Some(other)) => Ok(End::Moved(format!("answered by {other}"))),
        Err(error) => Err(error),
    };
    Ok(ended.unwrap_or_else(|error| End::Broken(error.to_string())))
}

/// The client speaks first: with SYN cookies the server knows of a connection only by what it hears.
async fn open(mut stream: TcpStream, plan: &Plan) -> io::Result<Session> {
    stream.set_nodelay(true)?;
    keep_alive(&stream, PROBE)?;
    stream.write_all(&framed(&block(plan.seed, 0))?).await?;
    let session = timeout(PATIENCE, Session::greet(stream, PATIENCE)).await;
    session.map_err(|_| io::Error::other("no banner"))?
}

/// Everything between the banner and the end. The name of another server that answered is returned.
async fn converse(
    session: &mut Session,
    plan: &mut Plan,
    record: &mut Record,
    orders: &mut watch::Receiver<Orders>,
) -> io::Result<Option<String>> {
    let seed = plan.seed;
    let (blocks, pause, life) = plan.habits();
    let end = Instant::now() + life;
    for number in 0..blocks {
        if number > 0 {
            session.say(seed, number).await?;
        }
        if plan.manner == Manner::Abort && number + 1 == blocks {
            return Ok(None); // in the middle of a block
        }
        if let Heard::Other(name) = session.hear(seed, number).await? {
            return Ok(Some(name));
        }
        record.blocks += 1;
        let over = if number + 1 == blocks {
            true
        } else {
            let wake = if plan.manner == Manner::Silent { end } else { end.min(Instant::now() + pause) };
            rest(session, wake, orders).await? || Instant::now() >= end
        };
        if over && plan.manner == Manner::Silent && number == 0 {
            sleep(plan.dice.millis(0..RAMP_MS)).await;
            continue; // the last block
        }
        if over {
            if number + 1 < blocks {
                sleep(plan.dice.millis(0..RAMP_MS)).await;
            }
            break;
        }
    }
    Ok(None)
}

/// Nothing may arrive until `wake`. Says whether the connection is told to end before.
async fn rest(
    session: &mut Session,
    wake: Instant,
    orders: &mut watch::Receiver<Orders>,
) -> io::Result<bool> {
    loop {
        let told = *orders.borrow_and_update();
        if told.ends(session.environment) {
            return Ok(true);
        }
        tokio::select! {
            () = sleep_until(wake) => return Ok(false),
            changed = orders.changed() => changed.map_err(io::Error::other)?,
            error = session.quiet() => return Err(error),
        }
    }
}

async fn leave(mut session: Session, plan: &mut Plan, record: &mut Record) -> io::Result<End> {
    let rude = match plan.manner {
        Manner::Abort => true,
        Manner::Again => plan.dice.percent(50),
        _ => false,
    };
    record.cut_ns = Some(realtime_ns());
    if rude {
        session.abort()?;
        return Ok(End::Aborted);
    }
    session.close().await?;
    Ok(End::Kept)
}

impl Plan {
    pub(super) fn new(manner: Manner, source: SocketAddr, vip: SocketAddr, mut dice: Dice) -> Self {
        Self { manner, source, vip, seed: dice.next(), dice }
    }

    /// How many blocks at most, how long between two, and how long in all.
    fn habits(&mut self) -> (u64, Duration, Duration) {
        let dice = &mut self.dice;
        match self.manner {
            Manner::Short | Manner::Abandon => {
                (1 + dice.below(4), dice.millis(5..150), Duration::from_secs(5))
            }
            Manner::Again => (1 + dice.below(3), dice.millis(1..60), Duration::from_secs(5)),
            Manner::Abort => (1 + dice.below(6), dice.millis(1..300), Duration::from_secs(10)),
            Manner::Stream => (u64::MAX, dice.millis(150..900), dice.millis(2_000..45_000)),
            // Some outlive anything but an order to end.
            Manner::Silent if dice.percent(10) => (2, Duration::ZERO, Duration::from_hours(10)),
            Manner::Silent => (2, Duration::ZERO, dice.millis(4_000..40_000)),
        }
    }
}
