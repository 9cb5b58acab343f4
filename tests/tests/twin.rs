//! The program in the kernel and the same code in plain memory do the same to every packet and every table.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

use bg_common::abi::{BackendCounter, Counter};
use bg_ebpf::kernel::{Answer, Hop};
use bg_tests::twin::{Difference, Pair, Plan, run, stress};
use bg_userspace::datapath::PROGRAM;

/// Packets of a run.
const PACKETS: u64 = 900_000;
/// Rounds of each kind that two processors run.
const ROUNDS: u64 = 30_000;
/// At least so many over each version of IP, in each phase and for each reason that a test run can reach.
const LEAST: u64 = 1000;

#[test]
fn host_and_kernel_agree_on_every_packet_and_every_table() {
    let plan = Plan::from_environment(PACKETS);
    eprintln!("{plan:?}");
    Pair::with("twin", |pair| {
        let started = Instant::now();
        let result = run(pair, plan);
        eprintln!("{}\nin {:.1} s", pair.tally, started.elapsed().as_secs_f64());
        if let Err(difference) = result {
            panic!("{plan:?}: {difference}");
        }
        let gaps = pair.tally.gaps(LEAST);
        assert!(
            plan.packets < PACKETS || gaps.is_empty(),
            "seen too seldom, or though it cannot be: {gaps:?}"
        );
    });
}

/// Changes one thing on the host's side.
type Change = fn(&mut Pair<'_>);

/// The twin is a witness only if it sees one bit that is different, in whichever table.
#[test]
fn one_bit_of_any_table_is_a_difference() {
    let changes: [(&str, Change); 9] = [
        ("PINS", |pair| bit(&pair.host.tables.pins[3][1].tag)),
        ("PINS", |pair| bit(&pair.host.tables.pins[15][3].meta)),
        ("RECENT", |pair| bit(&pair.host.tables.recent[400])),
        ("CENSUS", |pair| bit(&pair.host.tables.census[7][5])),
        ("DEPLOYMENTS", |pair| bit(&pair.host.tables.deployments[1][0])),
        ("CONTROL", |pair| bit(&pair.host.tables.control[0])),
        ("PIN_LOCKS", |pair| bit(&pair.host.tables.locks[1023])),
        ("the counter of returned", |pair| pair.host.counters[1].set(Counter::default())),
        ("the counter of backend 2", |pair| pair.host.backend_counters[2].set(BackendCounter::default())),
    ];
    Pair::with("bits", |pair| {
        for (what, change) in changes {
            run(pair, Plan { seed: 3, packets: pair.tally.packets + 600 }).expect("equal so far");
            change(pair);
            let difference = pair.check().expect_err(what);
            assert!(difference.what.contains(what), "{difference}");
            pair.take_over();
        }
    });
}

fn bit(word: &AtomicU64) {
    word.fetch_xor(1 << 20, SeqCst);
}

/// What only packets can show is seen by their verdict or their bytes.
#[test]
fn another_world_is_a_difference() {
    let changes: [(&str, Change); 6] = [
        ("ring slots lead to another backend", |pair| {
            for slots in &pair.host.tables.rings[..2] {
                slots.store(0x0001_0001_0001_0001, SeqCst);
            }
        }),
        ("another secret", |pair| pair.host.tables.node.key[1] ^= 2),
        ("no neighbour at all", |pair| {
            let routes = pair.host.routes.clone();
            for (prefix, length, _) in routes.into_iter().filter(|route| route.1 == 128) {
                pair.host.add_route(prefix, length, Answer::Local);
            }
            pair.host.tables.node.route_epoch.fetch_add(1, SeqCst);
        }),
        ("another tunnel source", |pair| {
            pair.host.tables.backends.iter_mut().for_each(|backend| backend.tunnel.0[13] ^= 1);
        }),
        ("no router at all", |pair| {
            let routes = pair.host.routes.clone();
            for (prefix, length, answer) in routes {
                let Answer::Hop(hop) = answer else { continue };
                pair.host.add_route(prefix, length, Answer::Hop(Hop { gateway: false, ..hop }));
            }
        }),
        ("a service with another port", |pair| {
            pair.host.services.iter_mut().for_each(|service| service.port[1] ^= 1);
        }),
    ];
    for (what, change) in changes {
        let found: Result<(), Difference> = Pair::with("world", |pair| {
            change(pair);
            run(pair, Plan { seed: 1, packets: 5000 })
        });
        eprintln!("{what}: {}", found.expect_err(what).what);
    }
}

/// Two processors at once, and the agent beside them.
#[test]
fn two_processors_agree_on_one_pin_and_lose_no_bit() {
    let plan = Plan::from_environment(ROUNDS);
    let seen = stress("stress", &mut aya::EbpfLoader::new(), PROGRAM, plan.seed, plan.packets);
    let seen = seen.unwrap_or_else(|error| panic!("{plan:?}: {error:#}"));
    eprintln!("{seen:?}");
    let met = [seen.freed[0], seen.freed[1], seen.revived, seen.late, seen.killed];
    assert!(plan.packets < ROUNDS || met.iter().all(|&times| times >= LEAST / 10), "met too seldom");
    assert!(seen.busy <= seen.rounds / 100, "a lock is not had in time too often");
}
