//! What must be undone, however this process ends. Every guard of the laboratory leaves its undoing
//! here and takes it back when it is dropped; SIGINT and SIGTERM run what is left, newest first.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

type Undo = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Registry {
    next: u64,
    /// Set by a signal: whoever still makes things undoes them at once and waits for the end.
    closing: bool,
    undo: BTreeMap<u64, Undo>,
}

static REGISTRY: Mutex<Registry> = Mutex::new(Registry { next: 0, closing: false, undo: BTreeMap::new() });

/// A place in the registry; dropping it runs the undoing.
pub struct Ticket(u64);

/// Leaves `undo` to be run when the ticket is dropped or the process is told to end.
pub fn register(undo: impl FnOnce() + Send + 'static) -> Ticket {
    static SIGNALS: Once = Once::new();
    SIGNALS.call_once(watch_signals);
    let mut registry = registry();
    if registry.closing {
        drop(registry);
        undo();
        wait_for_the_end();
    }
    let number = registry.next;
    registry.next += 1;
    registry.undo.insert(number, Box::new(undo));
    Ticket(number)
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut registry = registry();
        let undo = registry.undo.remove(&self.0);
        let closing = registry.closing;
        drop(registry);
        if let Some(undo) = undo {
            undo();
        }
        if closing {
            // Whoever goes on from here may end the process before the rest is undone.
            wait_for_the_end();
        }
    }
}

/// The thread that a signal woke ends the process when it has undone everything.
fn wait_for_the_end() -> ! {
    loop {
        std::thread::park();
    }
}

fn registry() -> MutexGuard<'static, Registry> {
    // An undoing never runs under the lock, so a poisoned registry is still in order.
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

fn undo_everything() {
    registry().closing = true;
    loop {
        let last = registry().undo.pop_last();
        match last {
            Some((_, undo)) => undo(),
            None => return,
        }
    }
}

/// Starts the thread that waits for SIGINT and SIGTERM. The handlers are in place when it returns.
fn watch_signals() {
    use tokio::signal::unix::{SignalKind, signal};
    let (ready, is_ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime for the signal thread");
        runtime.block_on(async {
            let mut interrupt = signal(SignalKind::interrupt()).expect("catch SIGINT");
            let mut terminate = signal(SignalKind::terminate()).expect("catch SIGTERM");
            // Nobody waits for this answer if the process is ending already.
            ready.send(()).ok();
            let code = tokio::select! {
                _ = interrupt.recv() => 130,
                _ = terminate.recv() => 143,
            };
            undo_everything();
            std::process::exit(code);
        });
    });
    // The thread answers, or it has panicked and said so.
    is_ready.recv().ok();
}
