//! The order in which an account is looked for: the steps, the source, the default destination.
//!
//! The steps come first, so that an exception need not be in the source; the first that decides
//! ends the search. Who is met by none is looked for in the source, and whoever the source does not
//! know goes to the default destination. A source that could not be asked is another matter: that
//! is an outage, unless the configuration says otherwise ([`OnError`]).
//!
//! A plan holds names in one normal form. What it knows itself it answers at once; where a store
//! must be asked, [`Progress::Ask`] keeps what the steps found until [`Plan::conclude`] (a table's
//! finding) or [`Pending::adopt`] (a judge's answer). Each decision is told as a [`Clue`] as well,
//! so that `gatepost explain` shows this very search and not another one.
//!
//! Read next: `step.rs`; `table.rs`, the file map.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::step::{Decision, Matched, Step, Subject};
use super::table::FileMap;
use super::{BadIdentifier, Finding, split_account};
use crate::config::{Config, Destination, Listener, MappingSource, Normalize, OnError};
use crate::contract::{Query, Route, Routing};
use crate::sasl::{Login, Proof};
use crate::verdict::{Denial, Referral};

/// Where accounts live, whose names are in one normal form.
#[derive(Debug, Clone)]
pub struct Plan {
    /// With the subjects in that form.
    steps: Vec<(Subject, Arc<Step>)>,
    source: Source,
    destinations: Vec<Arc<Destination>>,
    default: Arc<Destination>,
    on_error: OnError,
}

/// The table behind the steps.
#[derive(Debug, Clone)]
enum Source {
    None,
    Map(Arc<FileMap>),
    /// Somebody else's, who is asked between [`Plan::route`] and its end.
    Elsewhere,
}

/// How far a plan came by itself.
#[derive(Debug)]
pub enum Progress {
    /// This is the answer.
    Decided(Routing),
    /// A store is to be asked.
    Ask(Pending),
}

/// What the steps found of an account before its store is asked.
#[derive(Debug, Default)]
pub struct Pending {
    login: Option<Arc<Login>>,
    alert: Option<String>,
}

/// Something that a search found out.
#[derive(Debug)]
pub enum Clue<'a> {
    /// The credentials name nobody, so that no table is asked.
    Nameless,
    /// A step does not mean this account.
    Passed(&'a Step),
    /// A step means it.
    Met(&'a Step),
    /// The backend is to get another name.
    Renamed(&'a [u8]),
    /// The backend would get another name, but the client's mechanism fixes it.
    Unrenamable,
    /// The map has it, in that line, counted from 1.
    Mapped(usize),
    /// The map does not have it.
    Unmapped,
    /// There is no table.
    NoTable,
    /// A store is to be asked.
    Asked,
    /// The store knows it.
    Known,
    /// The store does not know it.
    Unknown,
    /// The store could not be asked.
    Silent,
    /// It goes to the default destination.
    Default,
}

/// A step whose subject has no normal form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnfitStep {
    /// Its line in the configuration.
    pub line: usize,
}

impl Plan {
    /// The plan of a configuration for names of one form. Where its source is a file, the map
    /// comes by [`Plan::set_map`].
    pub fn new(config: &Config, form: Normalize) -> Result<Self, UnfitStep> {
        let steps = config.mapping.steps.iter().map(|step| {
            let subject = step.subject.in_form(form);
            let subject = subject.map_err(|BadIdentifier| UnfitStep { line: step.line })?;
            Ok((subject, Arc::clone(step)))
        });
        Ok(Self {
            steps: steps.collect::<Result<_, _>>()?,
            source: match config.mapping.source {
                MappingSource::None => Source::None,
                MappingSource::File { .. } => Source::Map(Arc::default()),
                MappingSource::Http(_) | MappingSource::Redis(_) | MappingSource::Sql(_) => {
                    Source::Elsewhere
                }
            },
            destinations: config.destinations.clone(),
            default: Arc::clone(&config.routing.default_destination),
            on_error: config.mapping.on_error,
        })
    }

    /// Looks in this map from now on. It was parsed with the names of the configuration's
    /// destinations, in their order.
    pub fn set_map(&mut self, map: Arc<FileMap>) {
        self.source = Source::Map(map);
    }

    /// Asks somebody else from now on.
    pub fn ask_elsewhere(&mut self) {
        self.source = Source::Elsewhere;
    }

    /// Looks for an account. `listener`: where its client connected.
    pub fn route(
        &self,
        query: &Query,
        listener: &Listener,
        tell: &mut dyn FnMut(Clue<'_>),
    ) -> Progress {
        let name = query.identifier.as_deref();
        if name.is_none() {
            tell(Clue::Nameless);
        }
        let mut pending = Pending::default();
        for (subject, step) in &self.steps {
            let Some(matched) = subject.matches(name) else {
                tell(Clue::Passed(step));
                continue;
            };
            tell(Clue::Met(step));
            pending.take_on(step, &matched, &query.login, listener, tell);
            if let Some(decision) = &step.decision {
                return Progress::Decided(pending.decided(decision, &matched, &query.login));
            }
        }
        match (&self.source, name) {
            (Source::Elsewhere, _) => {
                tell(Clue::Asked);
                Progress::Ask(pending)
            }
            (Source::None, _) => {
                tell(Clue::NoTable);
                Progress::Decided(self.to_default(pending, tell))
            }
            (Source::Map(_), None) => Progress::Decided(self.to_default(pending, tell)),
            (Source::Map(map), Some(name)) => match map.find(name) {
                Some(hit) => {
                    tell(Clue::Mapped(hit.line));
                    let destination = self.destinations.get(hit.destination);
                    debug_assert!(destination.is_some(), "the map was parsed with their names");
                    let destination = destination.unwrap_or(&self.default);
                    Progress::Decided(pending.to(Arc::clone(destination)))
                }
                None => {
                    tell(Clue::Unmapped);
                    Progress::Decided(self.to_default(pending, tell))
                }
            },
        }
    }

    /// Goes on with what a store knows.
    pub fn conclude(
        &self,
        pending: Pending,
        finding: Finding,
        tell: &mut dyn FnMut(Clue<'_>),
    ) -> Routing {
        match (finding, self.on_error) {
            (Finding::Found(destination), _) => {
                tell(Clue::Known);
                pending.to(destination)
            }
            (Finding::NotFound, _) => {
                tell(Clue::Unknown);
                self.to_default(pending, tell)
            }
            (Finding::Unavailable, OnError::Default) => {
                tell(Clue::Silent);
                self.to_default(pending, tell)
            }
            (Finding::Unavailable, OnError::Unavailable) => {
                tell(Clue::Silent);
                Routing::Unavailable
            }
        }
    }

    fn to_default(&self, pending: Pending, tell: &mut dyn FnMut(Clue<'_>)) -> Routing {
        tell(Clue::Default);
        pending.to(Arc::clone(&self.default))
    }
}

impl Pending {
    /// Goes on with the answer of somebody who judged the login. What the answer does not say of
    /// the backend's login and of an alert, the steps do.
    pub fn adopt(self, routing: Routing) -> Routing {
        match routing {
            Routing::Found(route) => Routing::Found(Route {
                login: route.login.or(self.login),
                alert: route.alert.or(self.alert),
                ..route
            }),
            Routing::Referred(_)
            | Routing::Refused(_)
            | Routing::Later(_)
            | Routing::Unavailable => routing,
        }
    }

    /// Adds what a step says beside its decision. The last word counts.
    fn take_on(
        &mut self,
        step: &Step,
        matched: &Matched<'_>,
        login: &Arc<Login>,
        listener: &Listener,
        tell: &mut dyn FnMut(Clue<'_>),
    ) {
        if let Some(alert) = &step.alert {
            self.alert = Some(alert.clone());
        }
        let name = step.login.as_ref().and_then(|rewriting| rewriting.apply(matched));
        let Some(name) = name else { return };
        // An exchange comes as it is, and is refused with it: see `session/lookup.rs`.
        self.login = Some(match renamed(login, &name, listener) {
            Some(renamed) => {
                tell(Clue::Renamed(&name));
                Arc::new(renamed)
            }
            None => {
                tell(Clue::Unrenamable);
                Arc::clone(login)
            }
        });
    }

    fn decided(self, decision: &Decision, matched: &Matched<'_>, login: &Login) -> Routing {
        match decision {
            Decision::Destination(destination) => self.to(Arc::clone(destination)),
            Decision::Refusal(text) => Routing::Refused(Denial::with_text(text.as_bytes())),
            Decision::Referral { host, port, user } => {
                let own = || login.user().unwrap_or_default().to_vec();
                let user = user.as_ref().and_then(|user| user.apply(matched)).unwrap_or_else(own);
                Routing::Referred(Referral { user, host: host.clone(), port: *port })
            }
        }
    }

    fn to(self, destination: Arc<Destination>) -> Routing {
        let Self { login, alert } = self;
        Routing::Found(Route { login, alert, ..Route::to(destination) })
    }
}

/// A login under another name, whose master user, if it has one, stays; none, if its mechanism
/// fixes the name.
fn renamed(login: &Login, name: &[u8], listener: &Listener) -> Option<Login> {
    let Proof::Password(credential) = &login.proof else { return None };
    let (_, master) = split_account(&credential.user, &listener.master_user_separators);
    let mut credential = credential.clone();
    // Who acts as oneself acts as oneself under the other name.
    if credential.authzid == credential.user {
        credential.authzid.clear();
    }
    credential.user = [name, master].concat();
    Some(Login { mechanism: login.mechanism, proof: Proof::Password(credential) })
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use core::net::SocketAddr;

    use super::*;
    use crate::config::parse;
    use crate::contract::SessionId;
    use crate::route::identify;
    use crate::sasl::{Credential, Mechanism};
    use crate::secret::Secret;

    const CONFIG: &str = r#"
[tls.certificate.main]
cert = "main.pem"
key = "main.key"
[listener.imaps]
protocol = "imap"
bind = ["0.0.0.0:993"]
tls = "implicit"
[destination.old]
host = "old.test"
protocol.imap = { port = 993, tls = "implicit" }
[destination.new]
host = "new.test"
protocol.imap = { port = 993, tls = "implicit" }
[routing]
default_destination = "old"
[mapping]
normalize = "lowercase"
"#;

    /// A plan of these steps, with the listener whose clients ask it.
    fn plan(more: &str) -> (Plan, Arc<Listener>) {
        let (config, _) = parse(&[CONFIG, more].concat()).expect("no fault");
        let plan = Plan::new(&config, Normalize::Lowercase).expect("every step has a form");
        (plan, Arc::clone(&config.listeners[0]))
    }

    fn with_map(more: &str, map: &str) -> (Plan, Arc<Listener>) {
        let (mut plan, listener) = plan(more);
        let map = FileMap::parse(map.as_bytes(), &["old", "new"], Normalize::Lowercase);
        plan.set_map(Arc::new(map.expect("well-formed")));
        (plan, listener)
    }

    fn password(user: &str) -> Login {
        Login::with_password(user.into(), Secret::from(&b"secret"[..]))
    }

    fn query(login: Login, listener: &Listener) -> Query {
        let address = SocketAddr::from(([192, 0, 2, 7], 50123));
        let named = identify(&login, listener).expect("a proper name");
        Query {
            identifier: named.map(|named| named.identifier),
            login: Arc::new(login),
            protocol: listener.protocol,
            client: address,
            local: address,
            header: None,
            tls: None,
            session: SessionId(1),
            attempt: 1,
        }
    }

    fn search((plan, listener): &(Plan, Arc<Listener>), login: Login) -> Progress {
        plan.route(&query(login, listener), listener, &mut |_| {})
    }

    fn routing(plan: &(Plan, Arc<Listener>), user: &str) -> Routing {
        match search(plan, password(user)) {
            Progress::Decided(routing) => routing,
            Progress::Ask(_) => panic!("nobody is there to be asked"),
        }
    }

    /// Destination, user name there, and alert.
    fn found(routing: Routing) -> (String, Option<String>, Option<String>) {
        let Routing::Found(route) = routing else { panic!("{routing:?}") };
        let user = route.login.as_ref().and_then(|login| login.user());
        let user = user.map(|user| String::from_utf8_lossy(user).into_owned());
        (route.destination.name.clone(), user, route.alert)
    }

    fn home(plan: &(Plan, Arc<Listener>), user: &str) -> String {
        found(routing(plan, user)).0
    }

    #[test]
    fn steps_come_first_then_the_map_then_the_default() {
        let step = "[[mapping.step]]\nmatch = \"@Moved.example\"\ndestination = \"new\"\n\
                    [[mapping.step]]\nmatch = \"Eve@moved.example\"\ndestination = \"old\"\n";
        let plan = with_map(step, "bob@moved.example old\ncarol new\n");
        assert_eq!(home(&plan, "BOB@moved.example"), "new", "the step comes before the map");
        assert_eq!(home(&plan, "eve@moved.example"), "new", "the first that decides");
        assert_eq!(home(&plan, "Carol"), "new");
        assert_eq!(home(&plan, "carol%admin"), "new");
        assert_eq!(home(&plan, "dave"), "old");
    }

    #[test]
    fn who_is_not_named_goes_to_the_default_past_the_map() {
        let token = |user| Login {
            mechanism: Mechanism::XOAuth2,
            proof: Proof::Exchange { initial: Secret::from(&b""[..]), user },
        };
        let destination = |progress| match progress {
            Progress::Decided(routing) => found(routing).0,
            Progress::Ask(_) => panic!("nobody is there to be asked"),
        };
        let plan = with_map("", "x new\n");
        assert_eq!(destination(search(&plan, token(None))), "old");
        assert_eq!(destination(search(&plan, token(Some(b"x".to_vec())))), "new");
        let everybody = "[[mapping.step]]\nmatch = \"*\"\ndestination = \"new\"\n";
        assert_eq!(destination(search(&with_map(everybody, ""), token(None))), "new");
    }

    #[test]
    fn a_step_that_decides_nothing_leaves_its_alert_and_its_login() {
        let step = "[[mapping.step]]\nmatch = \"*\"\nalert = \"Soon\"\nlogin = \"{user}@a\"\n\
                    [[mapping.step]]\nmatch = \"bob\"\nlogin = \"{user}@b\"\n\
                    [[mapping.step]]\nmatch = \"eve\"\nalert = \"Now\"\ndestination = \"new\"\n";
        let plan = with_map(step, "bob new\n");
        let told = |text: &str| Some(text.into());
        assert_eq!(found(routing(&plan, "alice")), ("old".into(), told("alice@a"), told("Soon")));
        assert_eq!(found(routing(&plan, "bob")), ("new".into(), told("bob@b"), told("Soon")));
        assert_eq!(found(routing(&plan, "eve")), ("new".into(), told("eve@a"), told("Now")));
    }

    #[test]
    fn another_name_keeps_the_master_user_and_the_password() {
        let step = "[[mapping.step]]\nmatch = \"*\"\nlogin = \"email_localpart\"\n";
        let plan = plan(step);
        let login = |user: &str| {
            let Routing::Found(route) = routing(&plan, user) else { panic!("{user}") };
            route.login.map(|login| login.first_message().expose().to_vec())
        };
        assert_eq!(login("Bob@X%Admin"), Some(b"\0bob%Admin\0secret".to_vec()));
        assert_eq!(login("Bob"), None, "what lacks a part stays as it is");
    }

    #[test]
    fn another_name_is_made_once_whatever_the_mechanism() {
        let plan = plan("[[mapping.step]]\nmatch = \"*\"\nlogin = \"{user}@x\"\n");
        for mechanism in [Mechanism::Plain, Mechanism::Login] {
            for (authzid, expected) in [("", ""), ("bob", ""), ("boss", "boss")] {
                let user = b"bob".to_vec();
                let password = Secret::from(&b"secret"[..]);
                let credential = Credential { authzid: authzid.into(), user, password };
                let login = Login { mechanism, proof: Proof::Password(credential) };
                let Progress::Decided(Routing::Found(route)) = search(&plan, login) else {
                    panic!("{mechanism:?}");
                };
                let message = route.login.expect("another login").first_message();
                let expected = format!("{expected}\0bob@x\0secret");
                assert_eq!(message.expose(), expected.as_bytes());
            }
        }
    }

    #[test]
    fn an_exchange_that_needs_another_name_comes_back_as_it_is() {
        let plan = plan("[[mapping.step]]\nmatch = \"*\"\nlogin = \"{user}@x\"\n");
        let initial = Secret::from(&b"n,,n=bob,r=x"[..]);
        let proof = Proof::Exchange { initial, user: Some(b"bob".to_vec()) };
        let login = Login { mechanism: Mechanism::ScramSha256, proof };
        let Progress::Decided(Routing::Found(route)) = search(&plan, login.clone()) else {
            panic!("it is found");
        };
        assert_eq!(route.login.as_deref(), Some(&login), "so that the session refuses it");
    }

    #[test]
    fn referrals_and_refusals_end_the_search() {
        let step = "[[mapping.step]]\nmatch = \"@a\"\nreferral = \"two.test\"\n\
                    [[mapping.step]]\nregexp = \"(.*)@b\"\nreferral = \"two.test:1143\"\n\
                    referral_user = \"{1}@c\"\n\
                    [[mapping.step]]\nmatch = \"*\"\nrefuse = \"Closed.\"\n";
        let plan = plan(step);
        let Routing::Referred(own) = routing(&plan, "Bob@A%admin") else { panic!("a referral") };
        assert_eq!((own.user.as_slice(), own.port), (&b"Bob@A%admin"[..], None));
        let Routing::Referred(other) = routing(&plan, "bob@b") else { panic!("a referral") };
        assert_eq!((other.user.as_slice(), other.port), (&b"bob@c"[..], Some(1143)));
        let Routing::Refused(denial) = routing(&plan, "eve") else { panic!("a refusal") };
        assert_eq!(denial, Denial::with_text("Closed."));
    }

    #[test]
    fn not_known_and_could_not_ask_are_different() {
        for (key, outage) in [("unavailable", None), ("default", Some("old"))] {
            let (mut plan, listener) = plan(&format!("on_error = \"{key}\"\n"));
            plan.ask_elsewhere();
            let plan = (plan, listener);
            let after = |finding| {
                let Progress::Ask(pending) = search(&plan, password("bob")) else {
                    panic!("it is not asked");
                };
                match plan.0.conclude(pending, finding, &mut |_| {}) {
                    Routing::Found(route) => Some(route.destination.name.clone()),
                    Routing::Unavailable => None,
                    other @ (Routing::Referred(_) | Routing::Refused(_) | Routing::Later(_)) => {
                        panic!("{other:?}")
                    }
                }
            };
            let new = Arc::clone(&plan.0.destinations[1]);
            assert_eq!(after(Finding::Found(new)).as_deref(), Some("new"));
            assert_eq!(after(Finding::NotFound).as_deref(), Some("old"));
            assert_eq!(after(Finding::Unavailable).as_deref(), outage, "{key}");
        }
    }

    #[test]
    fn a_judge_has_the_last_word_on_login_and_alert() {
        let step = "[[mapping.step]]\nmatch = \"*\"\nalert = \"Soon\"\nlogin = \"{user}@a\"\n";
        let (mut plan, listener) = plan(step);
        plan.ask_elsewhere();
        let plan = (plan, listener);
        let pending = || match search(&plan, password("bob")) {
            Progress::Ask(pending) => pending,
            Progress::Decided(routing) => panic!("{routing:?}"),
        };
        let new = || Route::to(Arc::clone(&plan.0.destinations[1]));
        let told = |text: &str| Some(text.into());
        let plain = pending().adopt(Routing::Found(new()));
        assert_eq!(found(plain), ("new".into(), told("bob@a"), told("Soon")));
        let login = Some(Arc::new(password("robert")));
        let own = Route { login, alert: told("Now"), ..new() };
        let own = pending().adopt(Routing::Found(own));
        assert_eq!(found(own), ("new".into(), told("robert"), told("Now")));
        assert!(matches!(pending().adopt(Routing::Unavailable), Routing::Unavailable));
    }
}
