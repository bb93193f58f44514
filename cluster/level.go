package cluster

import (
	"context"

	"cairn/fsm"
	"cairn/fsm/controller"
)

// raiseLevel has the controller's leader raise the cluster's feature level to what
// every member speaks: with the restart of the last node of an upgrade, by itself.
// From then on no node can go back to the release before. A member that is down
// counts too: it would have to stop when it reads what it does not know.
func (n *Node) raiseLevel(st *controller.State) {
	level := orDefault(n.conf.Level, controller.FeatureLevel)
	for _, m := range st.Members() {
		if m.State != controller.Left {
			level = min(level, m.Level)
		}
	}
	if level <= st.Level() {
		return
	}
	if _, res, err := n.control.lead(&controller.SetFeatureLevel{Level: level}); err != nil || res.Err != nil {
		n.log.Warn("raising the feature level failed; trying again", "level", level, "err", err, "refused", res.Err)
		return
	}
	n.log.Info("every member speaks it: the feature level has risen", "level", level, "from", st.Level())
}

// speaks refuses (Conflict) what needs a feature level that the cluster has not
// reached.
func (n *Node) speaks(ctx context.Context, level uint32, what string) error {
	if n.control.state().Level() >= level { // it never falls
		return nil
	}
	if err := n.control.catchUp(ctx); err != nil {
		return err
	}
	st := n.control.state()
	if st.Level() >= level {
		return nil
	}
	var behind []string
	for _, m := range st.Members() {
		if m.State != controller.Left && m.Level < level {
			behind = append(behind, m.Name)
		}
	}
	if len(behind) == 0 {
		return &fsm.Error{Kind: fsm.Unavailable, Msg: "the cluster's feature level is about to rise; nothing was done", After: reconcileEvery}
	}
	return fsm.Errorf(fsm.Conflict, "the cluster's feature level is %d, and %s need %d: upgrade %s, and it rises by itself",
		st.Level(), what, level, listed(behind))
}
