//! The table of rights. All that is decided about who may what is here, and nowhere else.

use super::{Action, Role};

/// Whose rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Admin,
    Technician,
    Billing,
    Client,
    Service,
    Direct,
    IngestToken,
    MetricsToken,
    Web,
}

impl Column {
    pub(super) const ALL: [Self; 9] = [
        Self::Admin,
        Self::Technician,
        Self::Billing,
        Self::Client,
        Self::Service,
        Self::Direct,
        Self::IngestToken,
        Self::MetricsToken,
        Self::Web,
    ];

    pub(super) fn of(role: Role) -> Self {
        match role {
            Role::Admin => Self::Admin,
            Role::Technician => Self::Technician,
            Role::Billing => Self::Billing,
            Role::Client => Self::Client,
        }
    }

    /// For a sentence: "that is for admins, technicians".
    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::Admin => "admins",
            Self::Technician => "technicians",
            Self::Billing => "billing",
            Self::Client => "clients",
            Self::Service => "service tokens",
            Self::Direct => "programs of Helm's own user on this host",
            Self::IngestToken => "ingest tokens",
            Self::MetricsToken => "metrics tokens",
            Self::Web => "helm-web",
        }
    }
}

/// How far a right reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Nowhere.
    No,
    /// To every service.
    All,
    /// To those that are listed for the role.
    Seen,
    /// To those that the role operates.
    Operated,
    /// To both.
    Named,
    /// To the calling service, or those of the token.
    Own,
    /// To every service, while `[web] open_ingest` is on.
    Open,
}

use Action as A;
use Reach::{All, Named, No, Open, Operated, Own, Seen};

/// One row for each action, one column for each [`Column`].
#[rustfmt::skip]
const MATRIX: [(Action, [Reach; Column::ALL.len()]); Action::ALL.len()] = [
    //                   admin technician billing   client    service direct  ingest metrics web
    //                                                        token           token  token
    (A::Services,      [ All,  Named,     Named,    Named,    All,    No,     No,    No,     All ]),
    (A::Status,        [ All,  Seen,      Seen,     No,       All,    No,     No,    No,     All ]),
    (A::Events,        [ All,  Seen,      No,       No,       No,     No,     No,    No,     All ]),
    (A::Incidents,     [ All,  Seen,      No,       No,       No,     No,     No,    No,     All ]),
    (A::Logs,          [ All,  Seen,      Seen,     No,       No,     No,     No,    No,     All ]),
    (A::Counts,        [ All,  Seen,      Seen,     No,       All,    No,     No,    No,     All ]),
    (A::Output,        [ All,  Seen,      No,       No,       No,     No,     No,    No,     All ]),
    (A::Metrics,       [ All,  Seen,      No,       No,       All,    No,     No,    No,     All ]),
    (A::Operate,       [ All,  Operated,  Operated, Operated, No,     No,     No,    No,     No  ]),
    (A::Ingest,        [ All,  Seen,      No,       No,       Own,    Open,   Own,   No,     All ]),
    (A::IngestMetrics, [ All,  No,        No,       No,       Own,    No,     Own,   No,     No  ]),
    (A::Scrape,        [ All,  No,        No,       No,       No,     All,    No,    Own,    All ]),
    (A::Configuration, [ All,  No,        No,       No,       No,     No,     No,    No,     No  ]),
    (A::Environment,   [ All,  No,        No,       No,       No,     No,     No,    No,     No  ]),
    (A::Audit,         [ All,  No,        No,       No,       No,     No,     No,    No,     No  ]),
    (A::Access,        [ All,  No,        No,       No,       No,     No,     No,    No,     No  ]),
];

/// How far this right of these reaches. What is not in the table reaches nowhere.
pub(super) fn reach(action: Action, column: Column) -> Reach {
    let row = MATRIX.iter().find(|(of, _)| *of == action);
    let place = Column::ALL.iter().position(|of| *of == column);
    row.zip(place).and_then(|((_, cells), place)| cells.get(place).copied()).unwrap_or(Reach::No)
}

/// All that have this right, helm-web left out: it has it for others.
pub(super) fn who_may(action: Action) -> impl Iterator<Item = Column> {
    Column::ALL
        .into_iter()
        .filter(move |column| *column != Column::Web && reach(action, *column) != Reach::No)
}
