//! Reads the CE's GLUE2 document, which A-REX's information provider writes about once a minute (`ARC1ClusterInfo.pm` and
//! `GLUE2xmlPrinter.pm`). GFD.147 defines the elements.

use super::INTERFACE;
use super::session::{Pool, Repeat};
use crate::backend::failure::Failure;
use crate::backend::offer::{Offer, Queue, published_limit, tighter};
use crate::util::xml::Element;

/// The maximum size of the document, in bytes. The document of a CE with one queue has 17 kB, and each further queue
/// adds 1 to 2 kB.
const MAX_BYTES: usize = 16 << 20;

pub(super) fn offer(pool: &Pool) -> Result<Offer, Failure> {
    let response = pool.request(Repeat::Safe, "GET", "info?schema=glue2", b"")?;
    if response.code != 200 {
        return Err(response.refusal());
    }
    let unreadable =
        |message: String| Failure::invalid_response(format!("the information of the CE cannot be read: {message}"));
    if response.body.len() > MAX_BYTES {
        return Err(unreadable(format!("{} bytes are more than {MAX_BYTES}", response.body.len())));
    }
    let document = Element::parse(&String::from_utf8_lossy(&response.body)).map_err(unreadable)?;
    let mut services = Vec::new();
    find(&document, "ComputingService", &mut services);
    if services.is_empty() {
        return Err(unreadable(format!("its root {:?} contains no computing service", document.name)));
    }
    let offer = read(&document);
    if offer.queues.is_empty() {
        return Err(Failure::NoTargets("the CE publishes no queue".into()));
    }
    Ok(offer)
}

pub(super) fn read(document: &Element) -> Offer {
    let mut offer = Offer::default();
    let mut services = Vec::new();
    find(document, "ComputingService", &mut services);
    services.into_iter().for_each(|service| read_service(service, &mut offer));
    offer
}

fn read_service(service: &Element, offer: &mut Offer) {
    let is_rest =
        |endpoint: &&Element| text(endpoint, "InterfaceName").is_some_and(|name| name.eq_ignore_ascii_case(INTERFACE));
    let state = service.all("ComputingEndpoint").find(is_rest).and_then(|endpoint| text(endpoint, "ServingState"));
    // A-REX publishes exactly one manager.
    let manager = service.get("ComputingManager");
    let of_manager = |name: &str| manager.and_then(|manager| number(manager, name));
    for share in service.all("ComputingShare") {
        // The share of a virtual organisation has its own name. The queue is the one that it maps to.
        let Some(name) = text(share, "MappingQueue").or_else(|| text(share, "Name")) else { continue };
        let number = |name: &str| number(share, name);
        offer.queues.push(Queue {
            name: name.into(),
            serving_states: text(share, "ServingState").into_iter().chain(state).map(str::to_owned).collect(),
            min_wall_time: number("MinWallTime"),
            max_wall_time: number("MaxWallTime"),
            min_cpu_time: number("MinCPUTime"),
            max_cpu_time: number("MaxCPUTime"),
            max_total_cpu_time: number("MaxTotalCPUTime"),
            // MainMemorySize is not a limit: A-REX publishes the memory of the smallest node.
            memory: number("MaxMainMemory"),
            virtual_memory: number("MaxVirtualMemory"),
            disk: tighter(number("MaxDiskSpace"), of_manager("WorkingAreaFree")),
            slots: tighter(number("MaxSlotsPerJob"), of_manager("TotalSlots")),
        });
    }
    let lists = manager.into_iter().flat_map(|manager| manager.all("ApplicationEnvironments"));
    for environment in lists.flat_map(|list| list.all("ApplicationEnvironment")) {
        let Some(name) = text(environment, "AppName") else { continue };
        offer.runtime_environments.push(match text(environment, "AppVersion") {
            Some(version) => format!("{name}-{version}"),
            None => name.into(),
        });
    }
}

/// Collects the elements with a name at any depth, but not those inside another such element.
fn find<'a>(element: &'a Element, name: &str, found: &mut Vec<&'a Element>) {
    for child in &element.children {
        if child.name == name {
            found.push(child);
        } else {
            find(child, name, found);
        }
    }
}

/// The text of a child, unless it is A-REX's placeholder for an unknown value.
fn text<'a>(element: &'a Element, name: &str) -> Option<&'a str> {
    element.text_of(name).filter(|text| *text != "UNDEFINEDVALUE")
}

fn number(element: &Element, name: &str) -> Option<u64> {
    published_limit(text(element, name)?.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A shortened document of A-REX 6.17. Two virtual organisations see the same queue, one of them under another
    /// name.
    const DOCUMENT: &str = r#"<InfoRoot>
  <Domains xmlns="http://schemas.ogf.org/glue/2009/03/spec_2.0_r1">
    <AdminDomain BaseType="Domain"><ID>urn:ad:UNDEFINEDVALUE</ID><Services>
        <ComputingService BaseType="Service">
          <ComputingEndpoint><InterfaceName>org.ogf.glue.emies.activitycreation</InterfaceName>
            <ServingState>draining</ServingState></ComputingEndpoint>
          <ComputingEndpoint><InterfaceName>org.nordugrid.arcrest</InterfaceName>
            <ServingState>production</ServingState></ComputingEndpoint>
          <ComputingShare BaseType="Share">
            <ID>urn:ogf:ComputingShare:localhost:long</ID>
            <Name>long</Name>
            <MappingQueue>long</MappingQueue>
            <MaxWallTime>172800</MaxWallTime>
            <MinWallTime>0</MinWallTime>
            <MaxCPUTime>2147483647</MaxCPUTime>
            <MaxTotalCPUTime>999999999</MaxTotalCPUTime>
            <MinCPUTime>60</MinCPUTime>
            <MaxSlotsPerJob>128</MaxSlotsPerJob>
            <MaxMainMemory>16000</MaxMainMemory>
            <MaxVirtualMemory>many</MaxVirtualMemory>
            <MaxDiskSpace>500</MaxDiskSpace>
            <ServingState>closed</ServingState>
            <Associations><ExecutionEnvironmentID>e0</ExecutionEnvironmentID></Associations>
          </ComputingShare>
          <ComputingShare BaseType="Share">
            <Name>long_atlas</Name><MappingQueue>long</MappingQueue><MinWallTime></MinWallTime>
          </ComputingShare>
          <ComputingShare BaseType="Share"><Name>fork</Name></ComputingShare>
          <ComputingShare BaseType="Share"><MappingQueue/></ComputingShare>
          <ComputingManager BaseType="Manager">
            <TotalSlots>64</TotalSlots>
            <WorkingAreaFree>72</WorkingAreaFree>
            <ExecutionEnvironments><ExecutionEnvironment><ID>e0</ID><MainMemorySize>999999999</MainMemorySize>
              </ExecutionEnvironment></ExecutionEnvironments>
            <ApplicationEnvironments>
              <ApplicationEnvironment><AppName>ENV/PROXY</AppName></ApplicationEnvironment>
              <ApplicationEnvironment><AppName>A/B</AppName><AppVersion>1.2-3</AppVersion></ApplicationEnvironment>
            </ApplicationEnvironments>
          </ComputingManager>
        </ComputingService>
    </Services></AdminDomain>
  </Domains>
</InfoRoot>"#;

    #[test]
    fn queues_and_runtime_environments_are_read() {
        let offer = read(&Element::parse(DOCUMENT).unwrap());
        let other = |name: &str| Queue {
            name: name.into(),
            serving_states: vec!["production".into()],
            disk: Some(72),
            slots: Some(64),
            ..Queue::default()
        };
        let long = Queue {
            serving_states: vec!["closed".into(), "production".into()],
            max_wall_time: Some(172_800),
            min_cpu_time: Some(60),
            memory: Some(16_000),
            ..other("long")
        };
        assert_eq!(offer.queues, [long, other("long"), other("fork")]);
        assert_eq!(offer.runtime_environments, ["ENV/PROXY", "A/B-1.2-3"]);
        for nothing in
            ["<a/>", "<Domains><ComputingService/></Domains>", "<ComputingShare><Name>x</Name></ComputingShare>"]
        {
            assert_eq!(read(&Element::parse(nothing).unwrap()), Offer::default(), "{nothing}");
        }
    }

    proptest! {
        #[test]
        fn damaged_documents_do_not_panic(from in 0..DOCUMENT.len(), length in 0..200_usize, junk in "\\PC{0,8}") {
            let text = [&DOCUMENT[..from], &junk, &DOCUMENT[(from + length).min(DOCUMENT.len())..]].concat();
            if let Ok(document) = Element::parse(&text) {
                read(&document);
            }
        }
    }
}
