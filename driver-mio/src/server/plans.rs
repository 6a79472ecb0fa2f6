//! Where accounts live, as far as a worker knows it without asking: the steps and the file map.
//!
//! There is one [`Plan`] for each form of names that a listener uses, since a map is sorted in its
//! form. A file that is wrong is a fault with its line, and nothing of it is used.
//!
//! Not here: the search itself, see the core's `route/plan.rs`. Read next: `site.rs`.

use std::sync::Arc;

use gatepost_core::config::{Config, MappingSource, Normalize};
use gatepost_core::route::plan::{Plan, UnfitStep};
use gatepost_core::route::table::{FileMap, MapFault};

use super::site::SiteFault;

/// A plan for each form, and how many accounts the map has. After the first fault nothing more is
/// looked at: in another form it would most likely be the same line again.
pub(super) fn load(config: &Config) -> Result<(Vec<(Normalize, Plan)>, usize), SiteFault> {
    let map = match &config.mapping.source {
        MappingSource::File { path } => Some((path, read(path)?)),
        MappingSource::None => None,
    };
    let names: Vec<&str> = config.destinations.iter().map(|it| it.name.as_str()).collect();
    let mut plans: Vec<(Normalize, Plan)> = Vec::new();
    let mut accounts = 0;
    for form in config.listeners.iter().map(|listener| listener.normalize) {
        if plans.iter().any(|(known, _)| *known == form) {
            continue;
        }
        let mut plan = Plan::new(config, form).map_err(unfit)?;
        if let Some((path, text)) = &map {
            let map = FileMap::parse(text, &names, form);
            let map = map.map_err(|MapFault { line, kind }| SiteFault {
                place: "mapping.file.path".to_owned(),
                what: format!("{path}:{line}: {kind}"),
            })?;
            accounts = map.len();
            plan.set_map(Arc::new(map));
        }
        plans.push((form, plan));
    }
    Ok((plans, accounts))
}

fn read(path: &str) -> Result<Vec<u8>, SiteFault> {
    std::fs::read(path).map_err(|error| SiteFault {
        place: "mapping.file.path".to_owned(),
        what: format!("{path}: cannot be read: {error}"),
    })
}

/// The configuration was checked for this; whoever made one otherwise hears of it here.
fn unfit(UnfitStep { line }: UnfitStep) -> SiteFault {
    let what = format!("the step of line {line} can be nobody's name");
    SiteFault { place: "mapping.step".to_owned(), what }
}
