//! The demo: one deployment, two services, real load, and every promise checked by witnesses.
