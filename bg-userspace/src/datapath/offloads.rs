//! What an interface does to frames before the program sees them: merging them, and taking VLAN tags off.
//! The node's settings stay the operator's; here they are looked at, and what mends them is said.

use std::collections::BTreeSet;

use ethtool::{EthtoolAttr, EthtoolFeatureAttr, EthtoolHandle};
use futures_util::TryStreamExt as _;
use tracing::warn;

use super::Error;
use super::netlink::Link;

/// Names of features (`netdev_features_strings` in net/ethtool/common.c), and of those that say whether tags
/// of VLANs that the node does not have are kept out.
const LRO: &str = "rx-lro";
const GRO: &str = "rx-gro";
const GRO_HW: &str = "rx-gro-hw";
const TAGS: [(&str, &str); 2] =
    [("rx-vlan-hw-parse", "rx-vlan-filter"), ("rx-vlan-stag-hw-parse", "rx-vlan-stag-filter")];

/// What an interface does by itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Offloads {
    /// The interface.
    name: String,
    on: BTreeSet<String>,
    /// What cannot be changed.
    fixed: BTreeSet<String>,
    /// Whether it is an end of a veth pair, whose other end does what a card would do.
    is_veth: bool,
}

/// An interface, those that its frames come through, and the VLAN devices above it.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    own: Offloads,
    below: Vec<Offloads>,
    above: Option<String>,
}

/// Asks the kernel about an interface. A kernel that does not answer is no reason not to serve.
pub(super) async fn surroundings(link: &Link, links: &[Link]) -> Result<Surroundings, Error> {
    let (connection, handle, _) = ethtool::new_connection().map_err(|source| Error::Netlink {
        act: "opening a netlink socket for ethtool".to_owned(),
        source: source.into(),
    })?;
    let task = tokio::spawn(connection);
    let mut below = Vec::new();
    for lower in links_below(link, links) {
        below.push(offloads(handle.clone(), lower).await);
    }
    let above = links.iter().find(|upper| upper.is_vlan && upper.lower == Some(link.index));
    let own = offloads(handle, link).await;
    task.abort();
    Ok(Surroundings { own, below, above: above.map(|upper| upper.name.clone()) })
}

/// The interfaces that frames of `link` come through before, down to the cards.
fn links_below<'a>(link: &Link, links: &'a [Link]) -> Vec<&'a Link> {
    let mut found: Vec<&Link> = Vec::new();
    let mut above = vec![(link.index, link.lower)];
    while let Some((index, lower)) = above.pop() {
        for link in links.iter().filter(|it| it.controller == Some(index) || lower == Some(it.index)) {
            // What belongs to a bridge can stand on another of its ports.
            if found.iter().all(|other| other.index != link.index) {
                found.push(link);
                above.push((link.index, link.lower));
            }
        }
    }
    found
}

async fn offloads(mut handle: EthtoolHandle, link: &Link) -> Offloads {
    let Link { name, is_veth, .. } = link;
    let mut offloads = Offloads { name: name.clone(), is_veth: *is_veth, ..Offloads::default() };
    let answers = handle.feature().get(Some(name)).execute().await;
    let messages = match answers.try_collect::<Vec<_>>().await {
        Ok(messages) => messages,
        Err(error) => {
            warn!(
                interface = name,
                %error,
                "its offloads are not known: see to it that it neither merges packets nor takes VLAN tags off"
            );
            return offloads;
        }
    };
    for attribute in messages.into_iter().flat_map(|message| message.payload.nlas) {
        match attribute {
            EthtoolAttr::Feature(EthtoolFeatureAttr::Active(bits)) => {
                offloads.on.extend(bits.into_iter().filter(|bit| bit.value).map(|bit| bit.name));
            }
            EthtoolAttr::Feature(EthtoolFeatureAttr::NoChange(bits)) => {
                offloads.fixed.extend(bits.into_iter().filter(|bit| bit.value).map(|bit| bit.name));
            }
            _ => {}
        }
    }
    offloads
}

impl Surroundings {
    /// What would break packets in this mode.
    ///
    /// # Errors
    /// When packets of which nothing strange can be said would be broken.
    pub(super) fn judge(&self, native: bool) -> Result<Option<String>, Error> {
        let everyone = || std::iter::once(&self.own).chain(&self.below);
        // A driver's XDP and LRO exclude each other, which not every driver knows; and generic mode turns it off
        // only as it is attached.
        if let Some(merging) = everyone().find(|it| it.has(LRO)) {
            return Err(self.refusal("merges packets (LRO)", merging, &[LRO]));
        }
        if native {
            return self.tags();
        }
        // Where generic XDP is, the kernel itself leaves off merging (`netif_elide_gro`, `dev_disable_gro_hw`). It
        // does not look at the interfaces below.
        if let Some(merging) = self.below.iter().find(|it| it.has(GRO) || it.has(GRO_HW)) {
            let on: Vec<_> = [GRO, GRO_HW].into_iter().filter(|feature| merging.has(feature)).collect();
            return Err(self.refusal("gets merged packets (GRO) in generic mode", merging, &on));
        }
        Ok(None)
    }

    /// In native mode a tag that the card took off is not seen, and not put on again where the program sends
    /// the frame. Generic mode keeps it beside the packet.
    fn tags(&self) -> Result<Option<String>, Error> {
        let own = &self.own;
        let taken: Vec<_> = TAGS.iter().filter(|(parse, _)| own.has(parse)).collect();
        let features: Vec<_> = taken.iter().map(|(parse, _)| *parse).collect();
        if let (Some(above), false) = (&self.above, taken.is_empty()) {
            let what = format!("takes VLAN tags off, and frames with tags come in (there is `{above}`)");
            return Err(self.refusal(&what, own, &features));
        }
        let strangers = taken.iter().any(|(_, filter)| !own.has(filter));
        Ok(strangers.then(|| {
            format!(
                "`{}` takes VLAN tags off before the program sees a frame, which would go on without its tag: if frames with tags can come in, {}",
                own.name,
                own.mended(&features)
            )
        }))
    }

    fn refusal(&self, what: &str, culprit: &Offloads, features: &[&str]) -> Error {
        Error::Offload { name: self.own.name.clone(), what: what.to_owned(), help: culprit.mended(features) }
    }
}

impl Offloads {
    fn has(&self, feature: &str) -> bool {
        self.on.contains(feature)
    }

    /// The command that turns these off.
    fn mended(&self, features: &[&str]) -> String {
        let settings: Vec<_> = features.iter().map(|feature| format!("{} off", short(feature))).collect();
        let command = format!("`ethtool -K {} {}`", self.name, settings.join(" "));
        let fixed: Vec<_> = features.iter().filter(|feature| self.fixed.contains(**feature)).collect();
        // A veth hands over what its other end sends: a tag beside the frame, or in it.
        if self.is_veth && features.iter().any(|feature| TAGS.iter().any(|(parse, _)| parse == feature)) {
            return format!(
                "{command}, and `txvlan off` at the other end of this veth, where tags come from"
            );
        }
        if fixed.is_empty() {
            return format!("{command} mends it, until the next reboot");
        }
        format!(
            "its driver does not let it be turned off ({command}): another interface, or another xdp_mode, is needed"
        )
    }
}

/// What `ethtool -K` calls a feature.
fn short(feature: &str) -> &str {
    match feature {
        LRO => "lro",
        GRO => "gro",
        "rx-vlan-hw-parse" => "rxvlan",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offloads(name: &str, on: &[&str]) -> Offloads {
        let on = on.iter().map(|feature| (*feature).to_owned()).collect();
        Offloads { name: name.to_owned(), on, ..Offloads::default() }
    }

    fn alone(on: &[&str]) -> Surroundings {
        Surroundings { own: offloads("eth0", on), ..Surroundings::default() }
    }

    fn over(below: Offloads) -> Surroundings {
        Surroundings { own: offloads("mac0", &[GRO]), below: vec![below], above: None }
    }

    fn refused(surroundings: &Surroundings, native: bool) -> String {
        surroundings.judge(native).expect_err("a refusal").to_string()
    }

    fn fine(surroundings: &Surroundings, native: bool) {
        assert_eq!(surroundings.judge(native).unwrap(), None);
    }

    #[test]
    fn lro_is_refused_in_both_modes_also_below() {
        for native in [true, false] {
            let said = refused(&alone(&[LRO]), native);
            assert!(said.contains("`eth0`") && said.contains("`ethtool -K eth0 lro off`"), "{said}");
            let said = refused(&over(offloads("eth0", &[LRO])), native);
            assert!(said.contains("`mac0`") && said.contains("`ethtool -K eth0 lro off`"), "{said}");
        }
    }

    #[test]
    fn gro_matters_in_generic_mode_and_below_alone() {
        fine(&alone(&[GRO, GRO_HW]), false);
        fine(&alone(&[GRO, GRO_HW]), true);
        let below = over(offloads("eth0", &[GRO, GRO_HW]));
        fine(&below, true);
        let said = refused(&below, false);
        assert!(said.contains("`ethtool -K eth0 gro off rx-gro-hw off`"), "{said}");
        fine(&over(offloads("eth0", &[])), false);
    }

    #[test]
    fn taken_tags_are_refused_where_a_vlan_is_known_and_warned_of_where_any_tag_may_come() {
        let on = ["rx-vlan-hw-parse"];
        let said = alone(&on).judge(true).unwrap().expect("a warning");
        assert!(said.contains("`ethtool -K eth0 rxvlan off`"), "{said}");
        fine(&alone(&on), false);
        fine(&alone(&["rx-vlan-hw-parse", "rx-vlan-filter"]), true);
        let mut trunk = alone(&["rx-vlan-hw-parse", "rx-vlan-filter"]);
        trunk.above = Some("eth0.7".to_owned());
        let said = refused(&trunk, true);
        assert!(said.contains("`eth0.7`") && said.contains("rxvlan off"), "{said}");
        fine(&trunk, false);
        trunk.own.on.clear();
        fine(&trunk, true);
    }

    #[test]
    fn what_is_fixed_is_said_to_be() {
        let mut fixed = alone(&[LRO]);
        fixed.own.fixed.insert(LRO.to_owned());
        assert!(refused(&fixed, true).contains("does not let it be turned off"));
    }

    fn link(index: u32, lower: Option<u32>, controller: Option<u32>) -> Link {
        let name = format!("l{index}");
        Link { index, name, lower, controller, ..Link::default() }
    }

    #[test]
    fn interfaces_below_are_found_through_bridges_and_stacks() {
        let stack = link(4, Some(3), None);
        let links = [
            link(1, None, Some(3)),
            link(2, None, Some(3)),
            link(3, None, None),
            stack.clone(),
            link(5, None, None),
        ];
        let mut found: Vec<_> = links_below(&stack, &links).iter().map(|link| link.index).collect();
        found.sort_unstable();
        assert_eq!(found, [1, 2, 3]);
        assert!(links_below(&links[4], &links).is_empty());
    }
}
