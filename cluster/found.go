package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"cairn/cluster/link"
	"cairn/fsm"
	"cairn/fsm/controller"
)

// establish returns who this node is: as the directory says, or as a new member
// of the cluster it is to join, or as the founder of its own.
func (n *Node) establish(ctx context.Context) (*identity, error) {
	id, err := readIdentity(n.conf.Dir)
	if errors.Is(err, errNoIdentity) {
		switch {
		case n.conf.ExpectCluster != "":
			return nil, fmt.Errorf("%w, and cluster %s is expected: is this the right directory?", err, n.conf.ExpectCluster)
		case len(n.conf.Join) > 0:
			return n.join(ctx)
		}
		return n.newFounder()
	}
	if err != nil {
		return nil, err
	}
	if n.conf.ExpectCluster != "" && id.Cluster != n.conf.ExpectCluster {
		return nil, fmt.Errorf("this data directory belongs to cluster %s, and %s is expected", id.Cluster, n.conf.ExpectCluster)
	}
	if n.conf.JoinToken != "" {
		if err := sameCluster(id, n.conf.JoinToken); err != nil {
			return nil, err
		}
	}
	return id, nil
}

// sameCluster refuses a join token of another cluster than the directory's.
func sameCluster(id *identity, token string) error {
	_, fingerprint, err := link.ParseJoinToken(token)
	if err != nil {
		return err
	}
	own, err := link.Fingerprint(id.CA)
	if err != nil {
		return err
	}
	if own != fingerprint {
		return fmt.Errorf("this data directory belongs to cluster %s, and the token to another: use an empty directory to join that one", id.Cluster)
	}
	return nil
}

// newFounder makes a new cluster's identity. Nothing is founded yet: a crash
// after the identity is written goes on from there.
func (n *Node) newFounder() (*identity, error) {
	id := &identity{Cluster: ulid.Make().String(), Node: fsm.NodeID(ulid.Make().String()), Incarnation: 1, Founding: true}
	rand.Read(id.ClusterKey[:])
	ca, err := link.NewAuthority(id.Cluster)
	if err != nil {
		return nil, err
	}
	key, pub, err := link.NewKey()
	if err != nil {
		return nil, err
	}
	id.CA, id.Key = ca.CertPEM(), key
	if id.Cert, err = ca.Issue(pub, id.Cluster, id.Node, time.Now()); err != nil {
		return nil, err
	}
	box, err := newSecrets(ca).seal(id.ClusterKey, id.Cluster)
	if err != nil {
		return nil, err
	}
	// The sealed secrets must survive a crash before Found is committed.
	if err := n.conf.Dir.WriteFile(foundingFile, box); err != nil {
		return nil, err
	}
	return id, id.save(n.conf.Dir)
}

// foundingFile holds the sealed secrets between the writing of the identity and
// the commit of Found.
const foundingFile = "founding"

// found commits the cluster's first entry, starts the partitions' groups, and
// tells the tokens. Every step may be repeated after a crash.
func (n *Node) found(ctx context.Context, tell func(Founded) error) error {
	fresh, err := n.newTokens()
	if err != nil {
		return err
	}
	if err := n.commitFound(ctx, fresh); err != nil {
		return fmt.Errorf("found the cluster: %w", err)
	}
	if err := n.foundPartitions(ctx); err != nil {
		return fmt.Errorf("found the partitions: %w", err)
	}
	if err := tell(Founded{Cluster: n.id.Cluster, AdminToken: fresh.admin, JoinToken: fresh.join}); err != nil {
		return err
	}
	n.id.Founding = false
	return n.id.save(n.conf.Dir)
}

// foundingTokens are the first tokens of a cluster, told once.
type foundingTokens struct {
	admin, join string
	stored      []controller.Token
}

// joinTTL is how long the founding's join token is valid.
const joinTTL = 24 * time.Hour

func (n *Node) newTokens() (*foundingTokens, error) {
	t := &foundingTokens{}
	now := n.conf.Now()
	admin, secret := newToken("admin", "", now, 0, 0)
	join, joinSecret, err := n.newJoinToken(now, joinTTL, 0)
	if err != nil {
		return nil, err
	}
	t.admin, t.join, t.stored = secret, joinSecret, []controller.Token{admin, join}
	return t, nil
}

func (n *Node) commitFound(ctx context.Context, t *foundingTokens) error {
	if err := n.waitState(ctx); err != nil {
		return err
	}
	if n.control.state().Founded() { // a crash came between the commit and the telling
		for _, token := range t.stored {
			if _, err := n.control.propose(ctx, &controller.CreateToken{Now: n.now(), Token: token}); err != nil {
				return err
			}
		}
		return nil
	}
	box, err := n.conf.Dir.ReadFile(foundingFile)
	if err != nil {
		return err
	}
	_, err = n.control.propose(ctx, &controller.Found{
		Cluster: n.id.Cluster, Now: n.now(), Member: n.self(),
		Partitions: orDefault(n.conf.Partitions, DefaultPartitions),
		Settings: controller.Settings{
			NodeTimeout:   orDefault(n.conf.NodeTimeout, DefaultNodeTimeout).Microseconds(),
			ReassignAfter: orDefault(n.conf.ReassignAfter, DefaultReassignAfter).Microseconds(),
		},
		CA: n.id.CA, Secrets: box, Tokens: t.stored,
	})
	return err
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// self describes this node as a member.
func (n *Node) self() controller.Member {
	return controller.Member{
		ID: n.id.Node, Name: n.conf.Name, Address: n.conf.Advertise, HTTP: n.conf.HTTP,
		Zone: n.conf.Zone, Version: n.conf.Version, Level: orDefault(n.conf.Level, controller.FeatureLevel),
	}
}

// waitState returns when this node's copy of the controller's state is known to
// be current: after a start it is whatever the snapshot says until the leader
// tells what is committed.
func (n *Node) waitState(ctx context.Context) error { return n.control.catchUp(ctx) }

// foundPartitions bootstraps every partition's group, gives it its range and
// records that, so that nobody ever bootstraps it again.
func (n *Node) foundPartitions(ctx context.Context) error {
	var founded []fsm.PartitionID
	for _, row := range n.control.state().Partitions() {
		if row.Founded {
			continue
		}
		r, err := n.replicas.create(row.ID, row.Target[0].Replica)
		if err != nil {
			return err
		}
		if err := r.group.Bootstrap(); err != nil {
			return err
		}
		founded = append(founded, row.ID)
	}
	for _, id := range founded {
		row, _ := n.control.state().Partition(id)
		if err := n.replicas.get(id).initialise(ctx, row); err != nil {
			return err
		}
	}
	if len(founded) == 0 {
		return nil
	}
	_, err := n.control.propose(ctx, &controller.MarkFounded{Partitions: founded})
	return err
}
