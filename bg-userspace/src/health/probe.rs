//! One probe: what it asks, and what its failure is called.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, timeout_at},
};

use super::{
    Target,
    filter::Failure,
    http::{Exchange, Question},
};
use crate::config::HealthKind;

/// A probe's result, and its connections, which are yet to be closed.
pub(super) struct Outcome {
    pub(super) result: Result<(), Failure>,
    pub(super) streams: Vec<TcpStream>,
}

/// Probes a target once. Takes at most the check's time-out.
pub(super) async fn probe(target: &Target) -> Outcome {
    let check = &target.check;
    let port = check.port.unwrap_or(target.address.port());
    let address = SocketAddr::new(target.address.ip(), port);
    let patience = Patience { limit: check.timeout, end: Instant::now() + check.timeout };
    match &check.kind {
        HealthKind::Tcp => match patience.connect(address).await {
            Ok(stream) => Outcome { result: Ok(()), streams: vec![stream] },
            Err(failure) => Outcome { result: Err(failure), streams: Vec::new() },
        },
        HealthKind::Http { paths, expect, host } => {
            let questions = paths.iter().map(|path| Question {
                address,
                path: path.clone(),
                expect: *expect,
                host: host.clone(),
            });
            ask_all(questions.collect(), patience).await
        }
    }
}

/// Asks all at the same time: they share one time-out, and a slow path must not make the next fail.
/// Of several failures the first in the order of the configuration is named.
async fn ask_all(questions: Vec<Question>, patience: Patience) -> Outcome {
    let mut asked = JoinSet::new();
    for (index, question) in questions.into_iter().enumerate() {
        asked.spawn(async move { (index, ask(question, patience).await) });
    }
    let mut answers = asked.join_all().await;
    answers.sort_by_key(|(index, _)| *index);
    let mut outcome = Outcome { result: Ok(()), streams: Vec::new() };
    for (_, answer) in answers {
        outcome.streams.extend(answer.streams);
        outcome.result = outcome.result.and(answer.result);
    }
    outcome
}

async fn ask(question: Question, patience: Patience) -> Outcome {
    let exchange = async {
        let stream = patience.connect(question.address).await?;
        Exchange::new(stream).await
    };
    let mut exchange = match exchange.await {
        Ok(exchange) => exchange,
        Err(failure) => {
            return Outcome { result: Err(failure), streams: Vec::new() };
        }
    };
    let result = match timeout_at(patience.end, exchange.ask(&question)).await {
        Ok(result) => result,
        Err(_elapsed) => {
            let reason = format!("GET {}: {}", question.path, patience.late());
            Err(Failure::new(reason))
        }
    };
    Outcome { result, streams: vec![exchange.into_stream()] }
}

/// How long a probe waits, and until when.
#[derive(Clone, Copy)]
struct Patience {
    limit: Duration,
    end: Instant,
}

impl Patience {
    async fn connect(&self, address: SocketAddr) -> Result<TcpStream, Failure> {
        match timeout_at(self.end, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(connect_failure(&error)),
            Err(_elapsed) => Err(Failure::new(format!("connect: {}", self.late()))),
        }
    }

    fn late(&self) -> String {
        format!("no answer within {}", humantime::format_duration(self.limit))
    }
}

fn connect_failure(error: &io::Error) -> Failure {
    let (reason, refused) = match error.kind() {
        io::ErrorKind::ConnectionRefused => ("connection refused".to_owned(), true),
        io::ErrorKind::HostUnreachable => ("no route to host".to_owned(), true),
        _ => (format!("connect: {error}"), false),
    };
    Failure { reason, refused }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_absent_listener_or_host_counts_as_refused() {
        let refused = |kind| connect_failure(&io::Error::from(kind)).refused;
        assert!(refused(io::ErrorKind::ConnectionRefused));
        assert!(refused(io::ErrorKind::HostUnreachable));
        assert!(!refused(io::ErrorKind::NetworkUnreachable));
        assert!(!refused(io::ErrorKind::PermissionDenied));
    }
}
