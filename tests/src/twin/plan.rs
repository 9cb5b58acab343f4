//! A run of the twin: what comes next, drawn by lot from a seed.

use super::agent;
use super::connection::{Connection, Step};
use super::difference::Difference;
use super::oddity;
use super::pair::{Packet, Pair};
use super::random::Random;
use super::world::SERVICES;

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Where all of it comes from.
    pub seed: u64,
    /// Packets to compare.
    pub packets: u64,
}

impl Plan {
    /// As the variables `BLUEGREEN_TWIN_SEED` and `BLUEGREEN_TWIN_PACKETS` say, and otherwise so many packets
    /// from a seed that is the same every time.
    ///
    /// # Panics
    /// When one of them is no number.
    pub fn from_environment(packets: u64) -> Self {
        let number = |name: &str, otherwise| match std::env::var(name) {
            Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")),
            Err(_) => otherwise,
        };
        Self { seed: number("BLUEGREEN_TWIN_SEED", 1), packets: number("BLUEGREEN_TWIN_PACKETS", packets) }
    }
}

/// Connections at a time: more than there is room for among the pins.
const CONNECTIONS: u32 = 90;
/// Of a thousand steps: acts of the agent, SYNs of clients that are never heard of again, SYNs that are sent
/// again because no answer came, and odd packets.
const ACTS: u32 = 15;
const FLOOD: u32 = 40;
const IMPATIENCE: u32 = 60;
const ODD: u32 = 270;

/// Runs a plan; ends at the first difference.
pub fn run(pair: &mut Pair<'_>, plan: Plan) -> Result<(), Difference> {
    let mut random = Random::new(plan.seed);
    let mut connections: Vec<_> = (0..CONNECTIONS).map(|_| Connection::new(&mut random)).collect();
    while pair.tally.packets < plan.packets {
        if random.permille(ACTS) {
            agent::act(pair, &mut random)?;
        }
        if random.permille(FLOOD) {
            let mut once = Connection::new(&mut random);
            let step = once.syn(&mut random);
            send(pair, &mut once, &step, &mut random)?;
            continue;
        }
        let impatient = random.permille(IMPATIENCE);
        let at = random.below(CONNECTIONS) as usize;
        let waiting = (at..connections.len()).find(|&i| impatient && connections[i].opening());
        let connection = &mut connections[waiting.unwrap_or(at)];
        let step = if waiting.is_some() { connection.syn(&mut random) } else { connection.next(&mut random) };
        send(pair, connection, &step, &mut random)?;
    }
    pair.check()
}

fn send(
    pair: &mut Pair<'_>,
    connection: &mut Connection,
    step: &Step,
    random: &mut Random,
) -> Result<(), Difference> {
    let odd = random.permille(ODD);
    let packet = Packet {
        what: if odd { "something odd" } else { step.what },
        deployment: SERVICES[usize::from(connection.service)].deployment,
        interface: pair.kernel.devices[step.device as usize],
        bytes: if odd { oddity::spoil(step, random) } else { step.segment.bytes() },
    };
    let sent = pair.send(&packet)?;
    if !odd {
        connection.learn(step, &sent);
    }
    Ok(())
}
