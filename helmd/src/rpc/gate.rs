//! What passes at each socket. A call is let through for somebody whom its method is for at all; handlers narrow it to services.
//!
//! On helmd's own socket the peer is everything, and nobody else can be named. On web.sock each call carries a principal, and a method that
//! is not in [`METHODS`] is refused.

use std::sync::Arc;

use helm_core::access::{Action, Credential, Rules, may};
use helm_proto::access::{Nobody, named, principal};
use helm_proto::reason;
use tonic::{Request, Status};

use super::caller::{Caller, Who};
use super::peer::admitted;
use crate::access::Access;

/// The method that is called, as the path of its request says it.
#[derive(Debug, Clone)]
pub(super) struct Method(pub(super) String);

/// Who may call a method over web.sock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// helm-web itself: nobody is named yet.
    Nobody,
    /// Whoever is named.
    Anybody,
    /// Who may do one of these, of any service.
    One(&'static [Action]),
    /// Nobody: it is for helmd's own socket.
    Never,
}

use Action as A;

/// Every method of helm.v1. What is called over web.sock and is not here is refused.
#[rustfmt::skip]
const METHODS: &[(&str, Need)] = &[
    ("/helm.v1.Helm/Info",                    Need::One(&[A::Services, A::Scrape])),
    ("/helm.v1.Helm/List",                    Need::One(&[A::Services, A::Scrape])),
    ("/helm.v1.Helm/Status",                  Need::One(&[A::Services, A::Scrape])),
    ("/helm.v1.Helm/WatchStatus",             Need::One(&[A::Services, A::Scrape])),
    ("/helm.v1.Helm/Start",                   Need::One(&[A::Operate])),
    ("/helm.v1.Helm/Stop",                    Need::One(&[A::Operate])),
    ("/helm.v1.Helm/Restart",                 Need::One(&[A::Operate])),
    ("/helm.v1.Helm/Up",                      Need::One(&[A::Operate])),
    ("/helm.v1.Helm/Down",                    Need::One(&[A::Operate])),
    ("/helm.v1.Helm/Output",                  Need::One(&[A::Output])),
    ("/helm.v1.Helm/Events",                  Need::One(&[A::Events])),
    ("/helm.v1.Helm/CheckConfig",             Need::One(&[A::Configuration])),
    ("/helm.v1.Helm/Launch",                  Need::One(&[A::Environment])),
    ("/helm.v1.Helm/Tree",                    Need::One(&[A::Output])),
    ("/helm.v1.Helm/Signal",                  Need::Never),
    ("/helm.v1.Helm/Shutdown",                Need::Never),
    ("/helm.v1.Helm/Resume",                  Need::One(&[A::Operate])),
    ("/helm.v1.Helm/Reexec",                  Need::Never),
    ("/helm.v1.Configuration/Plan",           Need::One(&[A::Configuration])),
    ("/helm.v1.Configuration/Reload",         Need::One(&[A::Configuration])),
    ("/helm.v1.Configuration/FollowReload",   Need::One(&[A::Configuration])),
    ("/helm.v1.Configuration/ConfigHistory",  Need::One(&[A::Configuration])),
    ("/helm.v1.Configuration/ConfigDiff",     Need::One(&[A::Configuration])),
    ("/helm.v1.Configuration/ConfigRollback", Need::One(&[A::Configuration])),
    ("/helm.v1.Configuration/Certificates",   Need::One(&[A::Configuration])),
    ("/helm.v1.Incidents/ListIncidents",      Need::One(&[A::Incidents])),
    ("/helm.v1.Incidents/GetIncident",        Need::One(&[A::Incidents])),
    ("/helm.v1.Incidents/Why",                Need::One(&[A::Incidents])),
    ("/helm.v1.Logs/Append",                  Need::One(&[A::Ingest])),
    ("/helm.v1.Logs/QueryLogs",               Need::One(&[A::Logs])),
    ("/helm.v1.Logs/SearchLogs",              Need::One(&[A::Logs])),
    ("/helm.v1.Logs/FollowLogs",              Need::One(&[A::Logs])),
    ("/helm.v1.Logs/GetLog",                  Need::One(&[A::Logs])),
    ("/helm.v1.Logs/LogContext",              Need::One(&[A::Logs])),
    ("/helm.v1.Logs/LogHistogram",            Need::One(&[A::Counts, A::Scrape])),
    ("/helm.v1.Logs/LogFacets",               Need::One(&[A::Counts, A::Scrape])),
    ("/helm.v1.Logs/VerifyLogs",              Need::One(&[A::Audit])),
    ("/helm.v1.Metrics/ListMetrics",          Need::One(&[A::Metrics, A::Scrape])),
    ("/helm.v1.Metrics/QueryMetrics",         Need::One(&[A::Metrics])),
    ("/helm.v1.Metrics/AppendMetrics",        Need::One(&[A::IngestMetrics])),
    ("/helm.v1.Store/StoreStatus",            Need::One(&[A::Configuration, A::Scrape])),
    ("/helm.v1.Store/Retention",              Need::One(&[A::Configuration])),
    ("/helm.v1.Store/SetRetention",           Need::Never),
    ("/helm.v1.Access/SignInCode",            Need::Never),
    ("/helm.v1.Access/Identify",              Need::Nobody),
    ("/helm.v1.Access/Note",                  Need::Nobody),
    ("/helm.v1.Access/WebSettings",           Need::Nobody),
    ("/helm.v1.Access/Permissions",           Need::Anybody),
    ("/helm.v1.Access/CreateToken",           Need::One(&[A::Access])),
    ("/helm.v1.Access/ListTokens",            Need::One(&[A::Access])),
    ("/helm.v1.Access/RevokeToken",           Need::One(&[A::Access])),
    ("/helm.v1.Access/ListSessions",          Need::One(&[A::Access])),
    ("/helm.v1.Access/EndSession",            Need::One(&[A::Access])),
    ("/helm.v1.Access/Audit",                 Need::One(&[A::Audit])),
    ("/helm.v1.Jobs/StartJob",                Need::One(&[A::Operate, A::Configuration])),
    ("/helm.v1.Jobs/GetJob",                  Need::One(&[A::Operate, A::Status])),
    ("/helm.v1.Jobs/ListJobs",                Need::One(&[A::Operate, A::Status])),
    ("/helm.v1.Jobs/WatchJob",                Need::One(&[A::Operate, A::Status])),
    ("/helm.v1.Jobs/WatchJobs",               Need::One(&[A::Operate, A::Status])),
    ("/grpc.health.v1.Health/Check",          Need::Nobody),
    ("/grpc.health.v1.Health/Watch",          Need::Nobody),
];

/// Who calls what over web.sock.
fn need(method: &str) -> Need {
    METHODS.iter().find(|(path, _)| *path == method).map_or(Need::Never, |(_, need)| *need)
}

/// Lets calls through.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    /// What decides.
    pub(super) rules: Arc<Rules>,
    /// Tokens: what they are good for is known here, whatever a caller says of them.
    pub(super) access: Access,
}

impl Gate {
    /// A call, with who it is of; or why it is refused.
    #[allow(clippy::result_large_err, reason = "the signature of tonic's interceptors")]
    pub(super) fn pass(&self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let peer = admitted(&request)?;
        let who = if peer.web { self.for_whom(&request)? } else { Who::Owner };
        let caller = Caller { peer, who, rules: self.rules.clone() };
        request.extensions_mut().insert(Arc::new(caller));
        Ok(request)
    }

    #[allow(clippy::result_large_err, reason = "the signature of tonic's interceptors")]
    fn for_whom(&self, request: &Request<()>) -> Result<Who, Status> {
        let method = request.extensions().get::<Method>().map_or("", |method| method.0.as_str());
        let actions: &[Action] = match need(method) {
            Need::Nobody => return Ok(Who::Nobody),
            Need::Never => {
                return Err(reason::permission_denied(&format!("{method} is not for this socket")));
            }
            Need::Anybody => &[],
            Need::One(actions) => actions,
        };
        let wire = named(request.metadata()).map_err(|why| nobody(&why))?;
        let mut principal = principal(wire).map_err(|why| nobody(&why))?;
        if principal.credential.via() == TOKEN {
            principal.credential = self.granted(&principal.subject)?;
        }
        let mut tried = actions.iter().map(|action| may(&principal, &self.rules, *action, None));
        match tried.next() {
            Some(Err(first)) if !tried.any(|may| may.is_ok()) => {
                Err(reason::permission_denied(&first.to_string()))
            }
            Some(_) | None => Ok(Who::Somebody(Arc::new(principal))),
        }
    }

    /// What the token of this id is good for: it may have been revoked since whoever names it looked.
    #[allow(clippy::result_large_err, reason = "the signature of tonic's interceptors")]
    fn granted(&self, id: &str) -> Result<Credential, Status> {
        self.access.grant(id).ok_or_else(|| {
            reason::unauthenticated("this API token is not known: it was revoked, or has expired")
        })
    }
}

const TOKEN: &str = "token";

fn nobody(why: &Nobody) -> Status {
    reason::permission_denied(&why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_of_the_api_is_in_the_table_once() {
        let mut all = helm_proto::methods();
        all.extend(["Check", "Watch"].map(|method| format!("/grpc.health.v1.Health/{method}")));
        all.sort();
        let mut listed: Vec<String> = METHODS.iter().map(|(path, _)| (*path).to_owned()).collect();
        listed.sort();
        assert_eq!(listed, all);
    }

    #[test]
    fn what_is_not_in_the_table_is_for_nobody() {
        for method in [
            "",
            "/",
            "/helm.v1.Helm/",
            "/helm.v1.Helm/status",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        ] {
            assert_eq!(need(method), Need::Never, "{method}");
        }
    }
}
