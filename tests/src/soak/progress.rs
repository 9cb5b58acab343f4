//! How far it has got, on one line of a terminal; nothing where there is none.

use super::crowd::Board;
use super::deck::Act;
use super::options::Options;
use super::timeline::Live;
use crate::demo::line::{Ink, Line};
use crate::demo::screen::Screen;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

const TURN: Duration = Duration::from_millis(200);

/// The line.
pub(super) struct Progress {
    screen: Option<Screen>,
    began: Instant,
    shown: Instant,
    act: String,
    agent: &'static str,
    /// Every act is told as it happens, instead of the line.
    aloud: bool,
}

impl Progress {
    pub(super) fn new(aloud: bool) -> Self {
        let now = Instant::now();
        let screen = if aloud { None } else { Screen::open() };
        Self { screen, began: now, shown: now, act: String::new(), agent: "up", aloud }
    }

    pub(super) fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    pub(super) fn tell(&mut self, act: Act) {
        self.note(&format!("{act:?}"));
    }

    pub(super) fn note(&mut self, text: &str) {
        text.clone_into(&mut self.act);
        if self.aloud {
            eprintln!("{:7.1}s  {text}", self.seconds());
        }
    }

    pub(super) fn agent(&mut self, is: &'static str) {
        self.agent = is;
    }

    pub(super) fn show(&mut self, live: &Live, board: &Board, options: &Options) {
        let Some(screen) = &mut self.screen else { return };
        if self.shown.elapsed() < TURN {
            return;
        }
        self.shown = Instant::now();
        let word = live.word();
        let (begun, ended) = (board.begun.load(Relaxed), board.ended.load(Relaxed));
        let ended_badly = board.broken.load(Relaxed);
        let shown = Line::new()
            .put(&format!(" {:4.0} s  ", self.began.elapsed().as_secs_f64()), Ink::Dim)
            .put(&format!("flips {}/{}  ", live.flips.load(Relaxed), options.flips), Ink::Bold)
            .put(&format!("connections {begun}/{}, ", options.connections), Ink::Plain)
            .put(&format!("{} open  ", begun.saturating_sub(ended)), Ink::Plain)
            .put(&format!("{:?} to {}  ", word.phase(), word.current().environment.name()), Ink::Plain)
            .put(&format!("bgd {}  ", self.agent), if self.agent == "up" { Ink::Plain } else { Ink::Red })
            .put(
                &format!("ended badly {ended_badly}  "),
                if ended_badly == 0 { Ink::Plain } else { Ink::Red },
            )
            .put(&self.act, Ink::Dim);
        let (columns, _) = Screen::size();
        screen.draw(&[shown], columns);
    }
}
