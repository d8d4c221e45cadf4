//! The page for people. It needs no JavaScript.
//!
//! The first page has every service in full. With more than [`FEW`] services it has those with a
//! problem in full, and then a table of all; each has a page of its own.

use std::fmt::{self, Display, Formatter, Write};

use super::{ServerLine, ServiceLine, Status};

/// How often a browser reloads the page, in seconds.
const REFRESH: u32 = 5;
/// The most services that the first page shows in full.
const FEW: usize = 20;
/// The path of the page of a service, before its name.
pub(crate) const SERVICE_PATH: &str = "/service/";

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1f2430;--ground:#fff;--line:#d9dde3;--dim:#5b6472;\
--up:#0a6b2d;--down:#b00020;--wait:#8a5a00}\
@media(prefers-color-scheme:dark){:root{--ink:#e4e6ea;--ground:#15181d;--line:#363d48;\
--dim:#a2a9b4;--up:#5ccf86;--down:#ff8a95;--wait:#e8b64c}}\
body{font:15px/1.45 system-ui,sans-serif;margin:1.5em auto;max-width:72em;padding:0 1em;\
color:var(--ink);background:var(--ground)}\
h1{font-size:1.4em;margin:0 0 .3em}h2{font-size:1.1em;margin:1.6em 0 .3em;overflow-wrap:anywhere}\
p{margin:.3em 0}a{color:inherit}table{border-collapse:collapse;width:100%;margin:.5em 0}\
th,td{text-align:left;padding:.3em .6em;border-bottom:1px solid var(--line);vertical-align:top}\
th{font-weight:600;color:var(--dim);font-size:.87em}.n{text-align:right;white-space:nowrap}\
td{overflow-wrap:anywhere}.up{color:var(--up)}.down{color:var(--down);font-weight:600}\
.wait{color:var(--wait)}small{color:var(--dim)}summary{color:var(--dim);cursor:pointer}\
pre{margin:.3em 0;white-space:pre-wrap}svg{vertical-align:middle;color:var(--up)}\
ul{list-style:none;margin:0;padding:0}li{padding:.1em 0;overflow-wrap:anywhere}\
@media(max-width:45em){table,tbody,tr,td{display:block}th{display:none}\
tr{padding:.5em 0;border-bottom:1px solid var(--line)}td{border:0;padding:.05em 0}\
.n{text-align:left}td[data-n]::before{content:attr(data-n) ' ';color:var(--dim)}}";

impl Status {
    /// The first page, as a whole HTML document.
    #[must_use]
    pub fn html(&self) -> String {
        let mut page = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut page);
        page
    }

    /// The page of a service, by the name in its address; `None` if there is no such service.
    #[must_use]
    pub fn html_of(&self, name: &str) -> Option<String> {
        let mut services = self.services.iter();
        let service = services.find(|service| path_name(&service.service) == name)?;
        let mut page = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_head(&mut page);
        let _ = write!(page, "<p><a href='/'>All services</a></p>");
        let _ = write_service(&mut page, service);
        page.push_str("</body></html>");
        Some(page)
    }

    fn write_head(&self, page: &mut String) -> fmt::Result {
        let host = Text(&self.host);
        write!(
            page,
            "<!doctype html><html lang=en><head><meta charset=utf-8>\
             <meta name=viewport content='width=device-width'>\
             <meta http-equiv=refresh content={REFRESH}><title>{host}: load balancer</title>\
             <style>{STYLE}</style></head><body><h1>Load balancer {host}</h1>"
        )
    }

    fn write(&self, page: &mut String) -> fmt::Result {
        self.write_head(page)?;
        self.write_summary(page)?;
        for router in &self.routers {
            let class = match router.state.as_str() {
                "Active" => "up",
                "Initialize" => "down",
                _ => "wait",
            };
            write!(
                page,
                "<h2>Virtual router {} on {}</h2><p><span class={class}>{}</span>, priority {}, \
                 addresses {}<br><small>{}</small></p>",
                router.vrid,
                Text(&router.interface),
                Text(&router.state),
                router.priority,
                Text(&router.addresses.join(", ")),
                Text(&router.explanation),
            )?;
        }
        if !self.refused.is_empty() {
            write!(page, "<h2 class=down>Refused by the kernel</h2><ul>")?;
            for refused in &self.refused {
                write!(page, "<li>{}", Text(refused))?;
            }
            write!(page, "</ul>")?;
        }
        let is_shown = |service: &&ServiceLine| self.services.len() <= FEW || service.has_problem();
        let mut shown = self.services.iter().filter(is_shown);
        for service in shown.by_ref().take(FEW) {
            write_service(page, service)?;
        }
        let rest = shown.count();
        if rest > 0 {
            write!(page, "<p>{rest} more services have problems.</p>")?;
        }
        if self.services.len() > FEW {
            self.write_overview(page)?;
        }
        self.write_draining(page)?;
        if !self.events.is_empty() {
            write!(page, "<h2>Last events</h2><ul>")?;
            for event in &self.events {
                let (time, text) = (Clock(event.time), Text(&event.text));
                write!(page, "<li><small>{time}</small> {text}")?;
            }
            write!(page, "</ul>")?;
        }
        page.write_str("</body></html>")
    }

    fn write_summary(&self, page: &mut String) -> fmt::Result {
        let services = self.services.iter();
        let with_quorum = services.clone().filter(|service| service.quorum == "up");
        let servers = services.flat_map(|service| &service.servers);
        let down = servers.clone().filter(|server| server.is_down()).count();
        let class = |is_good| if is_good { "up" } else { "down" };
        let (all, good) = (self.services.len(), with_quorum.count());
        write!(
            page,
            "<p><span class={}>{good} of {all}</span> services have their quorum; \
             <span class={}>{down} of {}</span> servers are down.<br>\
             <small>Running for {}. {} probes under way; {} succeeded, {} failed, {} could not be \
             made.</small></p>",
            class(good == all),
            class(down == 0),
            servers.count(),
            Span(self.uptime),
            self.probes_running,
            self.probes.successes,
            self.probes.failures,
            self.probes.local_failures,
        )
    }

    /// A line for each service.
    fn write_overview(&self, page: &mut String) -> fmt::Result {
        write!(
            page,
            "<h2>Services</h2><table><tr><th>Service<th>Quorum<th class=n>Servers in use\
             <th class=n>Connections<th class=n>New/s</tr>"
        )?;
        for service in &self.services {
            let servers = service.servers.iter();
            let in_use = servers.clone().filter(|server| server.in_use).count();
            let connections = servers.map(|server| u64::from(server.connections));
            write!(
                page,
                "<tr><td><a href='{SERVICE_PATH}{}'>{}</a><td data-n=Quorum>\
                 <span class={}>{}</span>{}<td class=n data-n=Servers>{in_use} of {}\
                 <td class=n data-n=Connections>{}<td class=n data-n=New/s>{:.1}</tr>",
                Text(&path_name(&service.service)),
                Text(&service.service),
                quorum_class(service.quorum),
                service.quorum,
                if service.has_problem() {
                    ", <span class=down>problem</span>"
                } else {
                    ""
                },
                service.servers.len(),
                connections.sum::<u64>(),
                service.rates.connections,
            )?;
        }
        write!(page, "</table>")
    }

    fn write_draining(&self, page: &mut String) -> fmt::Result {
        if self.draining.is_empty() {
            return Ok(());
        }
        write!(page, "<h2>Draining</h2><ul>")?;
        for drain in &self.draining {
            write!(
                page,
                "<li>{} of {} <small>for at most {}</small>",
                Text(&drain.server),
                Text(&drain.service),
                Span(drain.left),
            )?;
        }
        write!(page, "</ul>")
    }
}

/// The name of a service as a part of a path.
fn path_name(service: &str) -> String {
    service.replace(' ', "-")
}

fn quorum_class(quorum: &str) -> &'static str {
    match quorum {
        "up" => "up",
        "down" => "down",
        _ => "wait",
    }
}

fn write_service(page: &mut String, service: &ServiceLine) -> fmt::Result {
    write!(
        page,
        "<h2>{}</h2><p>Quorum <span class={}>{}</span>, live capacity {}; {:.1} connections/s, \
         {:.0} packets/s {}",
        Text(&service.service),
        quorum_class(service.quorum),
        service.quorum,
        service.live,
        service.rates.connections,
        service.rates.packets,
        Sparkline(&service.sparkline),
    )?;
    for (is_so, text) in [
        (service.sorry, "the sorry server is in use"),
        (service.braked > 0, "the brake holds servers that are down"),
        (
            service.panicking > 0,
            "servers that are down are used, because too few are left",
        ),
    ] {
        if is_so {
            write!(page, "<br><span class=down>{text}</span>")?;
        }
    }
    write!(
        page,
        "</p><table><tr><th>Server<th>State<th class=n>Weight<th class=n>Connections\
         <th class=n>New/s<th>Last answers</tr>"
    )?;
    for server in &service.servers {
        write_server(page, server)?;
    }
    write!(page, "</table>")
}

fn write_server(page: &mut String, server: &ServerLine) -> fmt::Result {
    let class = if server.is_down() {
        "down"
    } else if server.in_use {
        "up"
    } else {
        "wait"
    };
    let weight = server
        .weight
        .map_or_else(|| "–".to_owned(), |weight| weight.to_string());
    write!(
        page,
        "<tr><td>{}<td><span class={class}>{}</span> <small>for {}</small><br><small>{}</small>\
         <td class=n data-n=Weight>{weight}<td class=n data-n=Connections>{}\
         <td class=n data-n=New/s>{:.1}<td>{}\
         <details><summary>Why</summary><pre>{}</pre></details></tr>",
        Text(&server.server),
        Text(&server.health),
        Span(server.since),
        Text(&server.usage),
        server.connections,
        server.rates.connections,
        Text(&server.answers.join("; ")),
        Text(&server.explanation),
    )
}

/// A text whose special characters are escaped.
struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|it| match it {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            it => f.write_char(it),
        })
    }
}

/// A time span in its greatest unit and the next smaller one.
struct Span(f64);

impl Display for Span {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let whole = std::time::Duration::try_from_secs_f64(self.0).unwrap_or_default();
        let seconds = whole.as_secs();
        let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
        let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
        match (days, hours, minutes) {
            (0, 0, 0) => write!(f, "{rest} s"),
            (0, 0, _) => write!(f, "{minutes} min {rest} s"),
            (0, ..) => write!(f, "{hours} h {minutes} min"),
            _ => write!(f, "{days} d {hours} h"),
        }
    }
}

/// A time of day, in UTC.
struct Clock(f64);

impl Display for Clock {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let time = std::time::Duration::try_from_secs_f64(self.0).unwrap_or_default();
        let time = std::time::SystemTime::UNIX_EPOCH + time;
        write!(f, "{}", humantime::format_rfc3339_seconds(time))
    }
}

/// Numbers as a line chart, with the greatest number.
struct Sparkline<'a>(&'a [f64]);

impl Display for Sparkline<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        const HEIGHT: f64 = 20.0;
        const STEP: u32 = 3;
        let most = self.0.iter().copied().fold(0.0, f64::max);
        let scale = most.max(1.0);
        write!(
            f,
            "<svg role=img aria-label='new connections a second, at most {most:.1}' width=180 \
             height=22><polyline fill=none stroke=currentColor points='"
        )?;
        let mut x = 0_u32;
        for value in self.0 {
            write!(f, "{x},{:.1} ", 1.0 + HEIGHT * (1.0 - value / scale))?;
            x += STEP;
        }
        write!(f, "'/></svg> <small>at most {most:.1}/s</small>")
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Line, ProbeCounts, Rates, RouterLine},
        *,
    };

    fn status() -> Status {
        Status {
            host: "lb1".into(),
            uptime: 4000.0,
            routers: vec![RouterLine {
                interface: "eth0".into(),
                vrid: 51,
                state: "Active".into(),
                priority: 150,
                addresses: vec!["192.0.2.1/24".into()],
                explanation: "priority 150".into(),
            }],
            draining: vec![super::super::DrainLine {
                service: "tcp 192.0.2.1:81".into(),
                server: "10.0.0.7:81".into(),
                left: 90.0,
            }],
            services: vec![ServiceLine {
                service: "tcp 192.0.2.1:80".into(),
                quorum: "up",
                live: 2,
                sorry: false,
                braked: 1,
                panicking: 0,
                rates: Rates::default(),
                sparkline: vec![0.0, 4.0, 2.0],
                servers: vec![ServerLine {
                    server: "10.0.0.1:80".into(),
                    health: "down".into(),
                    in_use: true,
                    usage: "in, although down: the brake holds it".into(),
                    since: 61.0,
                    weight: Some(1),
                    operator: "ready".into(),
                    connections: 3,
                    rates: Rates::default(),
                    answers: vec!["check 1: wrong answer (<script>alert('x')</script>)".into()],
                    explanation: "why \"not\" & so".into(),
                }],
            }],
            probes_running: 1,
            probes: ProbeCounts {
                successes: 10,
                failures: 2,
                local_failures: 0,
            },
            refused: vec!["add service: <no>".into()],
            events: vec![Line {
                time: 0.0,
                text: "started".into(),
            }],
        }
    }

    #[test]
    fn the_page_shows_everything_and_nothing_of_it_is_markup() {
        let page = status().html();
        for part in [
            "Virtual router 51 on eth0",
            "tcp 192.0.2.1:80",
            "10.0.0.1:80",
            "the brake holds servers that are down",
            "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;",
            "why &quot;not&quot; &amp; so",
            "add service: &lt;no&gt;",
            "1970-01-01T00:00:00Z",
            "Running for 1 h 6 min",
            "for 1 min 1 s",
            "points='0,21.0 3,1.0 6,11.0 '",
            "<span class=up>1 of 1</span> services",
            "<span class=down>1 of 1</span> servers are down",
            "10.0.0.7:81 of tcp 192.0.2.1:81 <small>for at most 1 min 30 s",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("<script"), "{page}");
    }

    #[test]
    fn many_services_are_a_table_with_problems_in_full_and_a_page_for_each() {
        let mut status = status();
        let mut good = status.services.remove(0);
        good.braked = 0;
        good.servers[0].health = "up".into();
        let mut bad = good.clone();
        bad.quorum = "down";
        status.services = (1..=500)
            .map(|port| ServiceLine {
                service: format!("tcp 192.0.2.1:{port}"),
                ..if port % 100 == 0 {
                    bad.clone()
                } else {
                    good.clone()
                }
            })
            .collect();
        let page = status.html();
        assert_eq!(
            page.matches("<a href='/service/tcp-192.0.2.1:").count(),
            500
        );
        // Five of the services have a problem.
        assert_eq!(page.matches("<h2>tcp ").count(), 5);
        assert!(page.contains("<h2>tcp 192.0.2.1:300</h2>"));
        assert!(page.len() < 200_000, "{}", page.len());
        let one = status.html_of("tcp-192.0.2.1:7").unwrap();
        assert!(one.contains("<h2>tcp 192.0.2.1:7</h2>"), "{one}");
        assert_eq!(status.html_of("tcp-192.0.2.1:501"), None);
    }

    #[test]
    fn the_metrics_have_a_line_for_each_server_and_end_as_openmetrics_does() {
        let metrics = status().metrics();
        for line in [
            "balancer_server_up{service=\"tcp 192.0.2.1:80\",server=\"10.0.0.1:80\"} 0",
            "balancer_server_in_use{service=\"tcp 192.0.2.1:80\",server=\"10.0.0.1:80\"} 1",
            "balancer_server_connections{service=\"tcp 192.0.2.1:80\",server=\"10.0.0.1:80\"} 3",
            "balancer_service_quorum{service=\"tcp 192.0.2.1:80\"} 1",
            "balancer_router_active{interface=\"eth0\",vrid=\"51\"} 1",
            "balancer_probes_total{result=\"failure\"} 2",
            "# EOF",
        ] {
            assert!(metrics.lines().any(|it| it == line), "{line}\n{metrics}");
        }
    }
}
