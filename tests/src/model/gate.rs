//! Stopping a packet in the program, and doing something meanwhile.

use std::cell::{Cell, RefCell};
use std::thread;
use std::time::Duration;

use aya::maps::{Array, MapData};
use bg_common::mutant::gate;

/// The map in which a stopped packet looks.
pub struct Gate {
    map: RefCell<Array<MapData, u64>>,
    /// The packet still stood there when it was let go.
    in_time: Cell<bool>,
}

/// What became of a packet that was to be stopped.
#[derive(Debug)]
pub enum Passed<R, T> {
    /// It stood at the place while this was done.
    Stopped(R, T),
    /// It never came there.
    Through,
    /// It was let go before what was to be done was done: no packet stands for longer than the kernel allows.
    TooEarly,
}

impl Gate {
    /// Over the program's map.
    pub const fn new(map: Array<MapData, u64>) -> Self {
        Self { map: RefCell::new(map), in_time: Cell::new(false) }
    }

    /// How often packets have looked at the control word since the last call.
    pub fn looks(&self) -> u64 {
        let looks = self.get(gate::LOOKS);
        self.set(gate::LOOKS, 0);
        looks
    }

    /// Lets a packet `pass` that stops when it comes to the place for the `nth` time, and does `meanwhile` then.
    ///
    /// # Panics
    /// When one of both does.
    pub fn passing<R: Send, T>(
        &self,
        nth: u64,
        pass: impl FnOnce() -> R + Send,
        meanwhile: impl FnOnce() -> T,
    ) -> Passed<R, T> {
        self.set(gate::OPEN, 0);
        self.set(gate::LEFT, nth);
        let passed = thread::scope(|scope| {
            let packet = scope.spawn(pass);
            while self.get(gate::STANDS) == 0 && !packet.is_finished() {
                thread::sleep(Duration::from_micros(20));
            }
            let stood = self.get(gate::STANDS) != 0;
            let done = stood.then(meanwhile);
            self.open();
            let received = packet.join().expect("the packet passes");
            match done {
                Some(done) if self.in_time.get() => Passed::Stopped(received, done),
                // It may have come there and gone before anybody looked.
                _ if stood || self.get(gate::LEFT) == 0 => Passed::TooEarly,
                _ => Passed::Through,
            }
        });
        self.set(gate::LEFT, 0);
        passed
    }

    /// Lets the packet go on.
    pub fn open(&self) {
        if self.get(gate::OPEN) == 0 {
            self.in_time.set(self.get(gate::STANDS) != 0);
            self.set(gate::OPEN, 1);
        }
    }

    fn get(&self, index: u32) -> u64 {
        self.map.borrow().get(&index, 0).expect("read GATE")
    }

    fn set(&self, index: u32, value: u64) {
        self.map.borrow_mut().set(index, value, 0).expect("write GATE");
    }
}
