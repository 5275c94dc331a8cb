//! Operations through a [`Link`] that fails.

use std::time::{Duration, Instant};

use jasmin_arc::{ArcInterface, ErrorKind};
use serde_json::json;

use crate::common::Site;
use crate::link::{Act, Fault, Link, Phase};

/// A site whose interface reaches the CE through a link.
pub(crate) struct Linked {
    pub(crate) site: Site,
    pub(crate) link: Link,
    /// The interface through the link.
    pub(crate) arc: ArcInterface,
}

/// The time limit of the interface through the link.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(2);

impl Linked {
    pub(crate) fn new() -> Linked {
        let site = Site::new();
        let endpoint = site.arc.config().endpoint_url().unwrap();
        let (host, path) = endpoint.trim_start_matches("https://").split_once('/').unwrap();
        let link = Link::to(host.rsplit_once(':').unwrap().1.parse().unwrap());
        let server = format!("localhost:{}/{path}", link.port());
        let config = site.another(json!({"ARC_SERVER": server})).config().clone();
        let arc = ArcInterface::builder().config(config).timeout(TIMEOUT).no_log().build().unwrap();
        Linked { site, link, arc }
    }
}

#[test]
#[ignore = "needs an ARC-CE"]
fn the_link_recognises_requests() {
    let linked = Linked::new();
    let Linked { arc, link, .. } = &linked;
    let id = arc.submit_job("/bin/sleep", &["60"], &[]).unwrap();
    arc.job_status(&id).unwrap();
    let before = link.count();
    arc.job_status(&id).unwrap();
    let after = link.count();
    // The published status, and A-REX's record.
    assert_eq!((after.requests - before.requests, after.connections), (2, before.connections), "{before:?} {after:?}");
    for phase in [Phase::Before, Phase::Within(10), Phase::After, Phase::Response(100)] {
        link.arm(Fault::Request { request: 2, phase, act: Act::Hold(Duration::from_millis(300)) }, 1);
        let begun = Instant::now();
        arc.job_status(&id).unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(300), "{phase:?}");
        assert_eq!(link.count().connections, before.connections);
    }
    assert_eq!(link.count().strikes, 4);
    link.set(Fault::Refuse);
    assert_eq!(arc.job_status(&id).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    link.set(Fault::None);
    arc.cancel_job(&id).unwrap();
}
