use super::*;

#[test]
fn addresses_are_normalised() {
    for (text, url) in [
        ("ce.example.org", "https://ce.example.org:443/arex"),
        ("CE.Example.ORG", "https://ce.example.org:443/arex"),
        ("localhost", "https://localhost:443/arex"),
        ("ce.example.org/", "https://ce.example.org:443/arex"),
        ("ce.example.org:60000", "https://ce.example.org:60000/arex"),
        ("ce.example.org:060000", "https://ce.example.org:60000/arex"),
        ("jasmin-ce.ceda.ac.uk:60000/arex", "https://jasmin-ce.ceda.ac.uk:60000/arex"),
        ("ce.example.org/other/Path//", "https://ce.example.org:443/other/Path"),
        ("ce.example.org//arex", "https://ce.example.org:443/arex"),
        ("https://ce.example.org", "https://ce.example.org:443/arex"),
        ("HTTPS://ce.example.org:8443/arex/", "https://ce.example.org:8443/arex"),
        ("http://ce.example.org", "http://ce.example.org:80/arex"),
        ("http://ce.example.org:8080/x", "http://ce.example.org:8080/x"),
        ("https://ce.example.org/arex/rest", "https://ce.example.org:443/arex"),
        ("https://ce.example.org/arex/rest/1.0/", "https://ce.example.org:443/arex"),
        ("https://ce.example.org/arex/rest/1.1", "https://ce.example.org:443/arex"),
        ("ce.example.org/rest", "https://ce.example.org:443/arex"),
        ("ce.example.org/arex/rest/x", "https://ce.example.org:443/arex/rest/x"),
        ("ce.example.org/rest/arex", "https://ce.example.org:443/rest/arex"),
        ("ce.example.org/interest", "https://ce.example.org:443/interest"),
        ("192.0.2.7:443", "https://192.0.2.7:443/arex"),
        ("[::1]", "https://[::1]:443/arex"),
        ("[2001:DB8::0:1]:60000/arex", "https://[2001:db8::1]:60000/arex"),
        ("https://[::1]/x", "https://[::1]:443/x"),
    ] {
        let endpoint = Endpoint::parse(text).unwrap();
        assert_eq!(endpoint.url(), url, "{text}");
        assert_eq!(endpoint.to_string(), url);
        // The URL is its own normal form.
        assert_eq!(Endpoint::parse(url).unwrap(), endpoint);
    }

    let endpoint = Endpoint::parse("http://[::1]:8080").unwrap();
    assert_eq!((endpoint.scheme, endpoint.host.as_str(), endpoint.port), ("http", "::1", 8080));
    assert_eq!((endpoint.path(), endpoint.authority().as_str()), ("/arex", "[::1]:8080"));
}

#[test]
fn bad_addresses_are_refused() {
    for (text, reason) in [
        ("", "\"\" is not a host name"),
        ("/arex", "\"\" is not a host name"),
        (":443", "\"\" is not a host name"),
        ("https://", "\"\" is not a host name"),
        ("https:///arex", "\"\" is not a host name"),
        ("https:ce.example.org", "\":ce.example.org\" is not a port; write a colon and a number from 1 to 65535"),
        ("https:/ce.example.org", "\":\" is not a port; write a colon and a number from 1 to 65535"),
        ("://ce", "\"\" is not https or http"),
        ("ftp://ce", "\"ftp\" is not https or http"),
        ("file:///x", "\"file\" is not https or http"),
        ("ce/https://ce", "\"ce/https\" is not https or http"),
        ("ce:", "\":\" is not a port; write a colon and a number from 1 to 65535"),
        ("ce:0", "\":0\" is not a port; write a colon and a number from 1 to 65535"),
        ("ce:65536", "\":65536\" is not a port; write a colon and a number from 1 to 65535"),
        (
            "ce:99999999999999999999",
            "\":99999999999999999999\" is not a port; write a colon and a number from 1 to 65535",
        ),
        ("ce:+443", "\":+443\" is not a port; write a colon and a number from 1 to 65535"),
        ("ce:-1", "\":-1\" is not a port; write a colon and a number from 1 to 65535"),
        ("ce:https", "\":https\" is not a port; write a colon and a number from 1 to 65535"),
        ("ce:1:2", "\":1:2\" is not a port; write a colon and a number from 1 to 65535"),
        ("::1", "\"\" is not a host name"),
        ("[::1", "the bracket of the IPv6 address is not closed"),
        ("[]", "\"\" is not an IPv6 address"),
        ("[ce]", "\"ce\" is not an IPv6 address"),
        ("[fe80::1%eth0]", "\"fe80::1%eth0\" is not an IPv6 address"),
        ("[::1]443", "\"443\" is not a port; write a colon and a number from 1 to 65535"),
        ("-ce", "\"-ce\" is not a host name"),
        ("..", "\"..\" is not a host name"),
        ("c%65", "\"c%65\" is not a host name"),
        ("ce/../arex", "the path \"../arex\" must not contain \".\" or \"..\""),
        ("ce/arex/.", "the path \"arex/.\" must not contain \".\" or \"..\""),
        ("user@ce", "the address of a CE must not contain '@'"),
        ("https://user:secret@ce", "the address of a CE must not contain '@'"),
        ("ce/arex?x=1", "the address of a CE must not contain '?'"),
        ("ce/arex#x", "the address of a CE must not contain '#'"),
        ("ce;x=1/arex", "the address of a CE must not contain ';'"),
        ("ce\\arex", "the address of a CE must not contain '\\\\'"),
        ("ce example.org", "the address of a CE must not contain ' '"),
        (" ce", "the address of a CE must not contain ' '"),
        ("ce\n", "the address of a CE must not contain '\\n'"),
        ("ce\0", "the address of a CE must not contain '\\0'"),
        ("c\u{e9}", "the address of a CE must not contain '\u{e9}'"),
        ("\u{1f980}", "the address of a CE must not contain '\u{1f980}'"),
    ] {
        assert_eq!(Endpoint::parse(text), Err(reason.to_owned()), "{text:?}");
    }
}

#[test]
fn ids_of_this_ce_are_recognised() {
    let name = "RmCMDmqK9brnMQPDjq2vDwNoABFKDmABFKDmvpFKDmWEFKDmnXLGem";
    let standard = ["CE.example.org", "https://ce.example.org:443/arex"];
    for server in standard {
        let endpoint = Endpoint::parse(server).unwrap();
        for prefix in [
            "",
            "https://ce.example.org/arex/",
            "https://ce.example.org:443/arex/",
            "HTTPS://CE.EXAMPLE.ORG:443/arex/",
            "https://ce.example.org/arex/rest/1.0/jobs/",
            "https://ce.example.org:443/arex/rest/1.1/jobs/",
            "https://ce.example.org:443/arex/rest/12.34/jobs/",
        ] {
            assert_eq!(endpoint.job_local_id(&format!("{prefix}{name}")), Some(name), "{prefix}");
        }
    }
    for (server, id) in [
        ("ce:60000", "https://ce:60000/arex/a-b_1"),
        ("http://ce", "http://ce/arex/a-b_1"),
        ("http://ce:443", "http://ce:443/arex/a-b_1"),
        ("[::1]/x/y", "https://[0:0:0:0:0:0:0:1]:443/x/y/rest/1.0/jobs/a-b_1"),
    ] {
        assert_eq!(Endpoint::parse(server).unwrap().job_local_id(id), Some("a-b_1"), "{id}");
    }
    let longest = "x".repeat(256);
    assert_eq!(Endpoint::parse("ce").unwrap().job_local_id(&longest), Some(longest.as_str()));
}

#[test]
fn other_ids_are_refused() {
    let endpoint = Endpoint::parse("ce.example.org").unwrap();
    for id in [
        "",
        "/",
        "a/",
        "/a",
        "a b",
        "a.b",
        "..",
        "a\0",
        "a\nb",
        "a%2f",
        "\u{e9}",
        "\u{1f980}",
        "a\u{301}",
        "://",
        "https://",
        "https://\u{e9}",
        "https://\u{e9}/\u{e9}",
        "https://ce.example.org\u{e9}/arex/a",
        "https://ce.example.org:\u{661}/arex/a",
        "https://ce.example.org/arex\u{e9}/a",
        "https://ce.example.org/arex/\u{e9}",
        "https://ce.example.org/arex/rest/1.\u{661}/jobs/a",
        "https://ce.example.org",
        "https://ce.example.org/",
        "https://ce.example.org/a",
        "https://ce.example.org/arex",
        "https://ce.example.org/arex/",
        "https://ce.example.org/arexa",
        "https://ce.example.org/AREX/a",
        "https://ce.example.org/arex//a",
        "https://ce.example.org/arex/a/",
        "https://ce.example.org/arex/a?x",
        "https://ce.example.org/arex/rest/jobs/a",
        "https://ce.example.org/arex/rest/1/jobs/a",
        "https://ce.example.org/arex/rest/1./jobs/a",
        "https://ce.example.org/arex/rest/.0/jobs/a",
        "https://ce.example.org/arex/rest/1.0.0/jobs/a",
        "https://ce.example.org/arex/rest/1.0/jobs",
        "https://ce.example.org/arex/rest/1.0/jobs/",
        "https://ce.example.org/arex/rest/1.0/jobs/a/",
        "https://ce.example.org/arex/rest/1.0/jobs/a/session",
        "https://ce.example.org/arex/rest/1.0/jobs/a/jobs/b",
        "https://ce.example.org/arex/rest/1.0/delegations/a",
        "https://ce.example.org:8443/arex/a",
        "https://ce.example.org:/arex/a",
        "https://ce.example.org:x/arex/a",
        "https://other.example.org/arex/a",
        "https://ce.example.org.evil.org/arex/a",
        "https://user@ce.example.org/arex/a",
        "https://[::1/arex/a",
        "http://ce.example.org/arex/a",
        "http://ce.example.org:443/arex/a",
        "gsiftp://ce.example.org:2811/jobs/a",
        "file:///var/spool/arc/a",
    ] {
        assert_eq!(endpoint.job_local_id(id), None, "{id:?}");
    }
    assert_eq!(endpoint.job_local_id(&"x".repeat(257)), None);
    // An id without a port has the default port of its scheme, not the CE's port.
    assert_eq!(Endpoint::parse("ce:60000").unwrap().job_local_id("https://ce/arex/a"), None);

    // Ids and addresses that are cut off at any character do not panic.
    let whole = "https://ce.example.org:443/arex/\u{1f980}/rest/1.0/jobs/\u{e9}a";
    for (at, _) in whole.char_indices() {
        endpoint.job_local_id(&whole[at..]);
        endpoint.job_local_id(&whole[..at]);
        let _ = Endpoint::parse(&whole[at..]);
        let _ = Endpoint::parse(&whole[..at]);
    }
}

#[test]
fn all_ids_of_a_job_belong_to_its_endpoint() {
    let endpoint = Endpoint::parse("ce.example.org").unwrap();
    for id in endpoint.job_ids("a1") {
        assert_eq!(endpoint.job_local_id(&id), Some("a1"), "{id}");
    }
}
