//! One client of the stream service: opens a connection, sends blocks, verifies every byte that
//! comes back and who sent it, and ends with FINs both ways.

use super::load::Orders;
use super::session::{Heard, Session, keep_alive};
use super::tally::{End, Tally};
use crate::lab::clock::realtime_ns;
use rustix::net::sockopt::set_tcp_keepcnt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// How long an answer may take. A lost packet is no failure, and a node that starts anew verifies its programs
/// first: the repetition that finds it there may come as late again as it was away.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);
const PROBE: Duration = Duration::from_secs(2);
/// So many without an answer end a connection, for the same reason: 80 s.
const PROBES: u32 = 40;

/// What one client does.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) source: Option<IpAddr>,
    pub(super) target: SocketAddr,
    pub(super) seed: u64,
    /// Between two blocks.
    pub(super) pace: Duration,
    /// Sends nothing but keepalive probes from its third block until it is told to speak.
    pub(super) silent: bool,
    /// Ends by itself after so long; without it, on order.
    pub(super) life: Option<Duration>,
}

/// Runs one client to its end and counts how it ended.
pub(super) async fn run(plan: Plan, tally: &Tally, orders: watch::Receiver<Orders>) {
    let began = realtime_ns();
    let error = match timeout(PATIENCE, open(&plan)).await {
        Ok(Ok(session)) => return follow(session, &plan, tally, orders).await,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer".to_owned(),
    };
    tally.fail(began, format!("open a stream to {}: {error}", plan.target));
}

async fn open(plan: &Plan) -> io::Result<Session> {
    let stream = connect(plan.source, plan.target).await?;
    if plan.silent {
        keep_alive(&stream, PROBE)?;
        set_tcp_keepcnt(&stream, PROBES)?;
    }
    Session::greet(stream, PATIENCE).await
}

async fn follow(mut session: Session, plan: &Plan, tally: &Tally, mut orders: watch::Receiver<Orders>) {
    tally.open_one(session.environment);
    let end = match converse(&mut session, plan, tally, &mut orders).await {
        Ok(None) => match session.close().await {
            Ok(()) => End::Kept,
            Err(error) => End::Broken(format!("{}: closing: {error}", session.name())),
        },
        Ok(Some(other)) => End::Moved(format!("{}: answered by {other}", session.name())),
        Err(error) => End::Broken(format!("{}: {error}", session.name())),
    };
    tally.close_one(session.environment, session.since_ns, &end);
}

/// Sends and verifies blocks until it is time to end. The name of another server that answered is
/// returned; everything else that is wrong is an error.
async fn converse(
    session: &mut Session,
    plan: &Plan,
    tally: &Tally,
    orders: &mut watch::Receiver<Orders>,
) -> io::Result<Option<String>> {
    let end = plan.life.map(|life| Instant::now() + life);
    for number in 0.. {
        let wanted = *orders.borrow_and_update();
        let over = end.is_some_and(|end| Instant::now() >= end);
        if over || wanted.ends(session.environment) {
            break;
        }
        if plan.silent && number >= 3 && !wanted.speak {
            // Nothing may arrive until the next order.
            tokio::select! {
                changed = orders.changed() => changed.map_err(io::Error::other)?,
                error = session.quiet() => return Err(error),
            }
            continue;
        }
        session.say(plan.seed, number).await?;
        if let Heard::Other(name) = session.hear(plan.seed, number).await? {
            return Ok(Some(name));
        }
        tally.answer(session.environment);
        tokio::select! {
            () = sleep(plan.pace) => {}
            changed = orders.changed() => changed.map_err(io::Error::other)?,
        }
    }
    Ok(None)
}

/// Opens a connection from `source`, the kernel's choice if absent.
pub(crate) async fn connect(source: Option<IpAddr>, target: SocketAddr) -> io::Result<TcpStream> {
    let socket = if target.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    socket.connect(target).await
}
