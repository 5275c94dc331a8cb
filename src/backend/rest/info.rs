//! Reads the CE's GLUE2 document, which A-REX's information provider writes about once a minute (`ARC1ClusterInfo.pm` and
//! `GLUE2xmlPrinter.pm`). GFD.147 defines the elements.

use std::time::Duration;

use super::INTERFACE;
use super::activity::parse_time;
use super::session::{Pool, Repeat};
use crate::backend::failure::Failure;
use crate::service::{
    HealthState, QueueInfo, ServiceInfo, ServiceInterface, ServingState, published_count, published_limit,
};
use crate::util::byte_size::ByteSize;
use crate::util::xml::Element;

/// The maximum size of the document, in bytes. The document of a CE with one queue has 17 kB, and each further queue
/// adds 1 to 2 kB.
const MAX_BYTES: usize = 16 << 20;

pub(super) fn service(pool: &Pool) -> Result<ServiceInfo, Failure> {
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
    Ok(read(&document))
}

pub(super) fn read(document: &Element) -> ServiceInfo {
    let mut info = ServiceInfo::default();
    let mut services = Vec::new();
    find(document, "ComputingService", &mut services);
    services.into_iter().for_each(|service| read_service(service, &mut info));
    info
}

fn read_service(service: &Element, info: &mut ServiceInfo) {
    let owned = |element: &Element, name: &str| text(element, name).map(str::to_owned);
    let created = service.attributes.iter().find(|(name, _)| name == "CreationTime");
    info.published_at = created.and_then(|(_, value)| parse_time(value));
    info.name = owned(service, "Name");
    info.total_jobs = count(service, "TotalJobs");
    info.running_jobs = count(service, "RunningJobs");
    info.waiting_jobs = count(service, "WaitingJobs");
    info.staging_jobs = count(service, "StagingJobs");
    info.accepted_jobs = count(service, "PreLRMSWaitingJobs");
    let state = |element: &Element| text(element, "ServingState").map(ServingState::from);
    for endpoint in service.all("ComputingEndpoint") {
        let Some(name) = owned(endpoint, "InterfaceName") else { continue };
        let interface = ServiceInterface {
            version: owned(endpoint, "InterfaceVersion"),
            url: owned(endpoint, "URL"),
            health: text(endpoint, "HealthState").map(HealthState::from),
            state: state(endpoint),
            name,
        };
        if interface.name.eq_ignore_ascii_case(INTERFACE) {
            info.health = interface.health;
            info.state = interface.state;
            info.implementation = owned(endpoint, "ImplementationName");
            info.version = owned(endpoint, "ImplementationVersion");
        }
        info.interfaces.push(interface);
    }
    // A-REX publishes exactly one manager.
    let manager = service.get("ComputingManager");
    if let Some(manager) = manager {
        info.batch_system = owned(manager, "ProductName");
        info.batch_system_version = owned(manager, "ProductVersion");
        info.total_slots = limit(manager, "TotalSlots");
        info.used_slots = count(manager, "SlotsUsedByGridJobs");
        info.other_used_slots = count(manager, "SlotsUsedByLocalJobs");
        info.free_disk = limit(manager, "WorkingAreaFree").map(ByteSize::gib);
    }
    for share in service.all("ComputingShare") {
        // The share of a virtual organisation has its own name. The queue is the one that it maps to.
        let Some(name) = owned(share, "MappingQueue").or_else(|| owned(share, "Name")) else { continue };
        let time = |name: &str| limit(share, name).map(Duration::from_secs);
        info.queues.push(QueueInfo {
            name,
            share: owned(share, "Name"),
            state: state(share),
            min_wall_time: time("MinWallTime"),
            max_wall_time: time("MaxWallTime"),
            min_cpu_time: time("MinCPUTime"),
            max_cpu_time: time("MaxCPUTime"),
            max_total_cpu_time: time("MaxTotalCPUTime"),
            // MainMemorySize is not a limit: A-REX publishes the memory of the smallest node.
            max_memory: limit(share, "MaxMainMemory").map(ByteSize::mib),
            max_virtual_memory: limit(share, "MaxVirtualMemory").map(ByteSize::mib),
            max_disk: limit(share, "MaxDiskSpace").map(ByteSize::gib),
            max_slots: limit(share, "MaxSlotsPerJob"),
            max_running_jobs: limit(share, "MaxRunningJobs"),
            max_user_running_jobs: limit(share, "MaxUserRunningJobs"),
            max_waiting_jobs: limit(share, "MaxWaitingJobs"),
            total_jobs: count(share, "TotalJobs"),
            running_jobs: count(share, "RunningJobs"),
            waiting_jobs: count(share, "WaitingJobs"),
            free_slots: count(share, "FreeSlots"),
            requested_slots: count(share, "RequestedSlots"),
        });
    }
    let lists = manager.into_iter().flat_map(|manager| manager.all("ApplicationEnvironments"));
    for environment in lists.flat_map(|list| list.all("ApplicationEnvironment")) {
        let Some(name) = text(environment, "AppName") else { continue };
        info.runtime_environments.push(match text(environment, "AppVersion") {
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

fn limit(element: &Element, name: &str) -> Option<u64> {
    published_limit(text(element, name)?.parse().ok()?)
}

fn count(element: &Element, name: &str) -> Option<u64> {
    published_count(text(element, name)?.parse().ok()?)
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
        <ComputingService BaseType="Service" CreationTime="2026-11-24T13:57:01Z" Validity="10800">
          <Name>ce</Name><TotalJobs>7</TotalJobs><RunningJobs>2</RunningJobs><WaitingJobs>0</WaitingJobs>
          <StagingJobs>1</StagingJobs><PreLRMSWaitingJobs>4</PreLRMSWaitingJobs>
          <ComputingEndpoint><InterfaceName>org.ogf.glue.emies.activitycreation</InterfaceName>
            <ServingState>draining</ServingState></ComputingEndpoint>
          <ComputingEndpoint><InterfaceName>org.nordugrid.arcrest</InterfaceName>
            <URL>https://ce:443/arex</URL><InterfaceVersion>0.1</InterfaceVersion><HealthState>ok</HealthState>
            <ImplementationName>nordugrid-arc</ImplementationName>
            <ImplementationVersion>6.17.0</ImplementationVersion>
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
            <ServingState>closed</ServingState><MaxRunningJobs>10</MaxRunningJobs><RunningJobs>2</RunningJobs>
            <WaitingJobs>0</WaitingJobs><FreeSlots>62</FreeSlots><RequestedSlots>999999999</RequestedSlots>
            <Associations><ExecutionEnvironmentID>e0</ExecutionEnvironmentID></Associations>
          </ComputingShare>
          <ComputingShare BaseType="Share">
            <Name>long_atlas</Name><MappingQueue>long</MappingQueue><MinWallTime></MinWallTime>
          </ComputingShare>
          <ComputingShare BaseType="Share"><Name>fork</Name></ComputingShare>
          <ComputingShare BaseType="Share"><MappingQueue/></ComputingShare>
          <ComputingManager BaseType="Manager">
            <ProductName>SLURM</ProductName><ProductVersion>22.05</ProductVersion>
            <TotalSlots>64</TotalSlots><SlotsUsedByGridJobs>2</SlotsUsedByGridJobs>
            <SlotsUsedByLocalJobs>0</SlotsUsedByLocalJobs>
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
    fn what_the_ce_publishes_is_read() {
        let info = read(&Element::parse(DOCUMENT).unwrap());
        let queue = |name: &str, share: &str| QueueInfo {
            name: name.into(),
            share: Some(share.into()),
            ..QueueInfo::default()
        };
        let long = QueueInfo {
            state: Some(ServingState::Closed),
            max_wall_time: Some(Duration::from_secs(172_800)),
            min_cpu_time: Some(Duration::from_secs(60)),
            max_memory: Some(ByteSize::mib(16_000)),
            max_disk: Some(ByteSize::gib(500)),
            max_slots: Some(128),
            max_running_jobs: Some(10),
            running_jobs: Some(2),
            waiting_jobs: Some(0),
            free_slots: Some(62),
            ..queue("long", "long")
        };
        let interface = |name: &str, state| ServiceInterface {
            name: name.into(),
            state: Some(state),
            ..ServiceInterface::default()
        };
        let rest = ServiceInterface {
            version: Some("0.1".into()),
            url: Some("https://ce:443/arex".into()),
            health: Some(HealthState::Ok),
            ..interface("org.nordugrid.arcrest", ServingState::Production)
        };
        let emies = interface("org.ogf.glue.emies.activitycreation", ServingState::Draining);
        let expected = ServiceInfo {
            name: Some("ce".into()),
            implementation: Some("nordugrid-arc".into()),
            version: Some("6.17.0".into()),
            health: Some(HealthState::Ok),
            state: Some(ServingState::Production),
            interfaces: vec![emies, rest],
            queues: vec![long, queue("long", "long_atlas"), queue("fork", "fork")],
            batch_system: Some("SLURM".into()),
            batch_system_version: Some("22.05".into()),
            total_slots: Some(64),
            used_slots: Some(2),
            other_used_slots: Some(0),
            total_jobs: Some(7),
            running_jobs: Some(2),
            waiting_jobs: Some(0),
            staging_jobs: Some(1),
            accepted_jobs: Some(4),
            free_disk: Some(ByteSize::gib(72)),
            runtime_environments: vec!["ENV/PROXY".into(), "A/B-1.2-3".into()],
            published_at: parse_time("2026-11-24T13:57:01Z"),
        };
        assert_eq!(info, expected);
        for nothing in
            ["<a/>", "<Domains><ComputingService/></Domains>", "<ComputingShare><Name>x</Name></ComputingShare>"]
        {
            assert_eq!(read(&Element::parse(nothing).unwrap()), ServiceInfo::default(), "{nothing}");
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
