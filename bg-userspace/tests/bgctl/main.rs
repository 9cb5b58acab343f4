//! The real `bgctl` against a small agent behind the real API: what is printed where, and the exit
//! code, which is all that a script has.

mod access;
mod agent;
mod answers;
mod config;
mod drain;
mod ends;
mod history;
mod switch;
