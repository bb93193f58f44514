package apitest

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"cairn/cluster"
	"cairn/fsm"
	"cairn/fsm/controller"
	"cairn/httpapi/rest"
)

const teamPrefix = "cairn_t_"

var errToken = fsm.Errorf(fsm.Unauthenticated, "the token is not valid")

// Authenticate implements httpapi.Tokens.
func (c *Cluster) Authenticate(ctx context.Context, token string) (*cluster.Principal, error) {
	if err := c.enter(ctx, "Authenticate"); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if rest, ok := strings.CutPrefix(token, teamPrefix); ok {
		return c.team(rest)
	}
	t, ok := c.tokens[token]
	if !ok || t.Expires != 0 && t.Expires <= c.now {
		return nil, errToken
	}
	return &cluster.Principal{Role: t.Role, Hunt: cluster.HuntRef{ID: t.Hunt}, Expires: t.Expires}, nil
}

func (c *Cluster) team(token string) (*cluster.Principal, error) {
	parts := strings.Split(token, "!")
	if len(parts) != 4 {
		return nil, errToken
	}
	life, _ := strconv.ParseUint(parts[1], 10, 64)
	generation, _ := strconv.ParseUint(parts[3], 10, 32)
	h := cluster.HuntRef{ID: fsm.HuntID(parts[0]), Incarnation: fsm.Incarnation(life)}
	if e := c.hunts[h.ID]; e == nil || e.info.Incarnation != h.Incarnation || generation == 0 {
		return nil, errToken
	}
	return &cluster.Principal{Role: "team", Hunt: h, Team: fsm.TeamID(parts[2]), Generation: uint32(generation)}, nil
}

// CheckTeam implements httpapi.Tokens.
func (c *Cluster) CheckTeam(ctx context.Context, p *cluster.Principal) error {
	if err := c.enter(ctx, "CheckTeam"); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.machine.CheckGeneration(p.Hunt.ID, p.Hunt.Incarnation, p.Team, p.Generation)
}

// TeamToken implements httpapi.Tokens. The fake does not sign.
func (c *Cluster) TeamToken(h cluster.HuntRef, team fsm.TeamID, generation uint32) (string, error) {
	return fmt.Sprintf("%s%s!%d!%s!%d", teamPrefix, h.ID, h.Incarnation, team, generation), nil
}

// CreateToken implements httpapi.Tokens.
func (c *Cluster) CreateToken(ctx context.Context, role string, hunt fsm.HuntID, ttl time.Duration, uses uint32) (controller.Token, string, error) {
	if err := c.enter(ctx, "CreateToken"); err != nil {
		return controller.Token{}, "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.tokens)
	t := controller.Token{
		ID: fmt.Sprintf("tk-%04d", n), Role: role, Hunt: hunt, Created: c.now, Uses: uses, Limited: uses > 0,
	}
	if ttl > 0 {
		t.Expires = c.now + fsm.Time(ttl.Microseconds())
	}
	secret := fmt.Sprintf("cairn_%c_%04d", role[0], n)
	c.tokens[secret] = t
	return t, secret, nil
}

// RevokeToken implements httpapi.Tokens.
func (c *Cluster) RevokeToken(ctx context.Context, id string) error {
	if err := c.enter(ctx, "RevokeToken"); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for secret, t := range c.tokens {
		if t.ID == id {
			delete(c.tokens, secret)
			return nil
		}
	}
	return fsm.Errorf(fsm.NotFound, "there is no token %s", id)
}

// ListTokens implements httpapi.Tokens.
func (c *Cluster) ListTokens(ctx context.Context) ([]controller.Token, error) {
	if err := c.enter(ctx, "ListTokens"); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []controller.Token
	for _, t := range c.tokens {
		out = append(out, t)
	}
	return out, nil
}

const nodeID = "01J0000000000000000000000A"

// Routing implements httpapi.Operator.
func (c *Cluster) Routing(ctx context.Context) (*rest.Routing, error) {
	return &rest.Routing{Version: 1, SlotFunction: fsm.SlotVersion, Partitions: []rest.RoutePartition{
		{ID: 0, Slots: [2]fsm.Slot{0, fsm.Slots - 1}, Leader: "127.0.0.1:8080"},
	}}, c.enter(ctx, "Routing")
}

// Cluster implements httpapi.Operator.
func (c *Cluster) Cluster(ctx context.Context) (*rest.Cluster, error) {
	c.mu.Lock()
	hunts := len(c.hunts)
	c.mu.Unlock()
	return &rest.Cluster{
		ID: "01J0000000000000000000000C", Version: "test", FeatureLevel: 1, ControllerLeader: nodeID,
		Nodes: []rest.Node{{
			ID: nodeID, Name: "n1", Address: "127.0.0.1:7400", HTTP: "127.0.0.1:8080", State: "alive",
			Controller: "leader", Version: "test", Load: &rest.Load{Replicas: 1, Leading: 1, CPU: 0.5},
		}},
		Partitions: 1, TableVersion: 1, Hunts: hunts,
	}, c.enter(ctx, "Cluster")
}

// node returns the only node, after a change of which method tells.
func (c *Cluster) node(ctx context.Context, method, node string) (*rest.Node, error) {
	cl, err := c.Cluster(ctx)
	if err := errors.Join(err, c.enter(ctx, method)); err != nil {
		return nil, err
	}
	if n := cl.Nodes[0]; node == n.Name || node == string(n.ID) {
		n.Duty = map[string]string{"Drain": "draining", "Leave": "leaving", "Remove": "leaving"}[method]
		return &n, nil
	}
	return nil, fsm.Errorf(fsm.NotFound, "there is no node %q", node)
}

// Drain, Undrain, Leave, Remove and Transfer implement httpapi.Operator: they
// change nothing and answer as if they had.
func (c *Cluster) Drain(ctx context.Context, node string) (*rest.Node, error) {
	return c.node(ctx, "Drain", node)
}

func (c *Cluster) Undrain(ctx context.Context, node string) (*rest.Node, error) {
	return c.node(ctx, "Undrain", node)
}

func (c *Cluster) Leave(ctx context.Context, node string) (*rest.Node, error) {
	return c.node(ctx, "Leave", node)
}

func (c *Cluster) Remove(ctx context.Context, node string) (*rest.Node, error) {
	return c.node(ctx, "Remove", node)
}

func (c *Cluster) Transfer(ctx context.Context, p fsm.PartitionID, to string) (*rest.Partition, error) {
	if _, err := c.node(ctx, "Transfer", to); err != nil {
		return nil, err
	}
	parts, err := c.Partitions(ctx)
	if err != nil {
		return nil, err
	}
	if int(p) >= len(parts.Partitions) {
		return nil, fsm.Errorf(fsm.NotFound, "there is no partition %d", p)
	}
	return &parts.Partitions[p], nil
}

// Recover implements httpapi.Operator: there is nothing to recover.
func (c *Cluster) Recover(ctx context.Context, partitions []fsm.PartitionID, accept bool) (*rest.Recoveries, error) {
	if len(partitions) > 0 {
		return nil, fsm.Errorf(fsm.Conflict, "partition %d has a leader; nothing needs to be given up", partitions[0])
	}
	return &rest.Recoveries{Done: accept, Recoveries: []rest.Recovery{}}, c.enter(ctx, "Recover")
}

// Checkpoint implements httpapi.Operator: the only replica agrees with itself.
func (c *Cluster) Checkpoint(ctx context.Context, partitions []fsm.PartitionID) (*rest.Checkpoints, error) {
	for _, p := range partitions {
		if p != 0 {
			return nil, fsm.Errorf(fsm.NotFound, "there is no partition %d", p)
		}
	}
	c.mu.Lock()
	hash := c.machine.Hash()
	c.mu.Unlock()
	return &rest.Checkpoints{Partitions: []rest.Checkpoint{{
		ID: 0, Index: 7, Agree: true, Replicas: []rest.ReplicaHash{{Node: nodeID, Hash: hex.EncodeToString(hash[:])}},
	}}}, c.enter(ctx, "Checkpoint")
}

// Partitions implements httpapi.Operator.
func (c *Cluster) Partitions(ctx context.Context) (*rest.Partitions, error) {
	return &rest.Partitions{Partitions: []rest.Partition{{
		ID: 0, Slots: [2]fsm.Slot{0, fsm.Slots - 1}, Epoch: 1, Leader: nodeID, Preferred: nodeID, State: "ok",
		Replicas: []rest.ReplicaInfo{{Node: nodeID, Role: "voter", Applied: 7, CaughtUp: true}},
		Target:   []fsm.NodeID{nodeID},
	}}}, c.enter(ctx, "Partitions")
}

// Snapshots implements httpapi.Operator.
func (c *Cluster) Snapshots(ctx context.Context) (*rest.Snapshots, error) {
	return &rest.Snapshots{Snapshots: []rest.Snapshot{
		{Partition: 0, Node: nodeID, Index: 7, Term: 1, Size: 100, Taken: Start},
	}}, c.enter(ctx, "Snapshots")
}

// Live implements httpapi.Operator.
func (c *Cluster) Live() []rest.Check { return []rest.Check{{Name: "process", OK: true}} }

// Ready implements httpapi.Operator.
func (c *Cluster) Ready() []rest.Check {
	return []rest.Check{
		{Name: "controller", OK: true},
		{Name: "disk", OK: c.Failing == "", Detail: c.Failing},
	}
}
