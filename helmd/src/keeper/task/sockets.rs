//! The sockets that the keeper holds for its service.

use std::net::SocketAddr;

use helm_core::event::News;
use helm_core::status::{Holder, RunId};

use super::Task;
use crate::port;

/// EADDRINUSE
const TAKEN: i32 = 98;

impl Task {
    /// The keeper listens at this port: whether it is free shows when it does.
    pub(super) fn listens_at(&self, port: u16) -> bool {
        self.spec.listen.iter().any(|address| address.port() == port)
    }

    /// What a start is that failed because somebody else listens there; `None`: another reason.
    pub(super) async fn taken(&self, run: RunId, address: Option<SocketAddr>, errno: i32) -> Option<News> {
        let address = address.filter(|_| errno == TAKEN)?;
        let holder = port::holder_at(address).await?;
        if self.spec.port == Some(address.port()) {
            return Some(News::Occupied { run, holder });
        }
        let reason = format!("cannot listen at {address}: {} has it", in_words(&holder));
        Some(News::StartFailed { run, reason, permanent: false })
    }
}

/// "pid 4242 of uid 1000 (python server.py)"
fn in_words(holder: &Holder) -> String {
    let Holder { pid, command, uid } = holder;
    let pid = pid.map_or_else(|| "a process that cannot be seen".to_owned(), |pid| format!("pid {pid}"));
    let uid = uid.map(|uid| format!(" of uid {uid}")).unwrap_or_default();
    let command = command.as_ref().map(|command| format!(" ({command})")).unwrap_or_default();
    pid + &uid + &command
}
