//! `[quarantine]` and `[break_glass]`: what is left to devices in quarantine, and what may be opened for a time.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::containment::{BreakGlass, Quarantine};
use crate::field::quantity::Period;
use crate::name::ServiceName;
use crate::problem::{At, Fault};
use crate::section::{Keys, Section};
use crate::table::policy::operators;

pub(crate) const QUARANTINE: Keys = Keys {
    table: "[quarantine]",
    known: &["services"],
    later: &[],
};

pub(crate) const BREAK_GLASS: Keys = Keys {
    table: "[break_glass]",
    known: &["longest", "operators"],
    later: &[],
};

/// `[quarantine]` as it is written.
#[derive(Default)]
pub(crate) struct RawQuarantine {
    pub(crate) services: Vec<At<ServiceName>>,
}

pub(crate) fn quarantine(section: &Section<'_>) -> RawQuarantine {
    let services = section.required_list::<ServiceName>("services");
    if services.len() > MOST {
        section.report("services", Fault::new(format!("more than {MOST} services")));
    }
    RawQuarantine { services }
}

impl RawQuarantine {
    pub(crate) fn into_model(self) -> Quarantine {
        let services: BTreeSet<ServiceName> =
            self.services.into_iter().map(|at| at.value).collect();
        Quarantine { services }
    }
}

pub(crate) fn break_glass(section: &Section<'_>) -> BreakGlass {
    let longest = section.within::<Period>("longest", Period(SHORTEST)..=Period(LONGEST));
    BreakGlass {
        longest: longest.map_or(USUAL, |period| period.0),
        operators: operators(section),
    }
}

/// Services of a quarantine.
//= C7
const MOST: usize = 64;
const USUAL: Duration = Duration::from_hours(1);
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_hours(24);
