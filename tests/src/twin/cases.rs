//! Short cases instead of one long history: each begins with fresh tables, and is the same whenever it is run.

use std::sync::atomic::Ordering::SeqCst;

use bg_common::recent;
use bg_fuzz::Act;

use super::difference::Difference;
use super::node;
use super::pair::{Pair, Told, clock};

impl Pair<'_> {
    /// Gives both sides tables that no packet has been to. What counters have counted stays, and next hops are
    /// looked up anew.
    ///
    /// # Panics
    /// When the program's tables cannot be written.
    pub fn start_over(&mut self) {
        let fresh = node::host(self.kernel.devices, node::BUCKETS);
        let old = std::mem::replace(&mut self.host, fresh);
        self.host.counters = old.counters;
        self.host.backend_counters = old.backend_counters;
        self.host.next_hops = old.next_hops;
        let epoch = old.tables.node.route_epoch.load(SeqCst) + 1;
        self.host.tables.node.route_epoch.store(epoch, SeqCst);
        self.kernel.fill(&self.host).expect("fill the program's tables");
        self.kernel.forget_fragments().expect("forget fragments");
        self.kernel.forgive_answers().expect("give back what answers have cost");
        let maps = self.kernel.maps();
        for pin in maps.pins.iter().flatten() {
            for word in [&pin.tag, &pin.half, &pin.established, &pin.meta] {
                word.store(0, SeqCst);
            }
        }
        maps.recent.iter().chain(maps.locks.iter()).for_each(|word| word.store(0, SeqCst));
        maps.census.iter().chain(maps.deployments.iter()).flatten().for_each(|word| word.store(0, SeqCst));
        self.forget();
    }

    /// Lets the agent do something, on both sides.
    pub fn act(&mut self, act: Act) -> Result<(), Difference> {
        self.tell(Told::Act(format!("{act:?}")));
        let tables = &mut self.host.tables;
        tables.nanoseconds.store(clock(), SeqCst);
        act.apply(tables);
        let maps = self.kernel.maps();
        for (word, shared) in tables.control.iter().zip(maps.control.iter()) {
            shared.store(word.load(SeqCst), SeqCst);
        }
        for (backend, shared) in tables.backends.iter().zip(maps.backends.iter()) {
            shared.dead.store(backend.dead.load(SeqCst), SeqCst);
        }
        if let Act::Rotate(deployment) = act {
            recent::rotate(maps, deployment.into());
        }
        self.give_node();
        self.check_tables()
    }
}
