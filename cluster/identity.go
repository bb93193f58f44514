package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"cairn/cluster/link"
	"cairn/fsm"
	"cairn/store"
)

// Files of the data directory that the cluster package writes.
const (
	identityFile = "identity"
	peersFile    = "peers"
)

// identity is who this node is: written once when it founds or joins, and again
// only when its controller replica is renewed. Losing it means losing the node,
// which is why a copy of everything else is elsewhere.
type identity struct {
	Cluster     string     `json:"cluster"`
	Node        fsm.NodeID `json:"node"`
	Incarnation uint64     `json:"incarnation"` // of the controller replica
	CA          []byte     `json:"ca"`          // PEM
	Cert        []byte     `json:"cert"`        // PEM
	Key         []byte     `json:"key"`         // PKCS #8
	ClusterKey  [32]byte   `json:"cluster_key"` // opens the cluster's sealed secrets
	// Renewing is true from the moment Incarnation was renewed until the data of
	// the replica before it is gone.
	Renewing bool `json:"renewing,omitempty"`
	// Renew is the incarnation that another member took this node's controller
	// replica for, until it has one after that. Its copy is kept for so long, and
	// then put aside.
	Renew uint64 `json:"renew,omitempty"`
	// Heir is that member: it led the history that this node's copy is not of.
	Heir fsm.NodeID `json:"heir,omitempty"`
	// Resuming is the incarnation before this one, from the moment a recovery of
	// the controller from this node's copy began until it is done.
	Resuming uint64 `json:"resuming,omitempty"`
	// Founding is true from the moment the founder wrote its identity until the
	// cluster is founded and its tokens were told: a crash in between goes on.
	Founding bool `json:"founding,omitempty"`
}

// errNoIdentity means that the directory belongs to no cluster yet.
var errNoIdentity = errors.New("this data directory belongs to no cluster yet")

func readIdentity(d *store.Dir) (*identity, error) {
	raw, err := d.ReadFile(identityFile)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, errNoIdentity
	case errors.Is(err, store.ErrDamaged):
		return nil, fmt.Errorf("%w: this node cannot prove who it is any more. Its data is safe on the other "+
			"replicas: move the data directory away and join the cluster again with an empty one", err)
	case err != nil:
		return nil, err
	}
	var id identity
	if err := json.Unmarshal(raw, &id); err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	return &id, nil
}

func (id *identity) save(d *store.Dir) error {
	raw, err := json.Marshal(id)
	if err != nil {
		return err
	}
	return d.WriteFile(identityFile, raw)
}

func (id *identity) credentials() link.Credentials {
	return link.Credentials{Cluster: id.Cluster, Node: id.Node, CA: id.CA, Cert: id.Cert, Key: id.Key}
}

// replica is the node's member of the controller group.
func (id *identity) replica() fsm.Replica {
	return fsm.Replica{Node: id.Node, Incarnation: id.Incarnation}
}
