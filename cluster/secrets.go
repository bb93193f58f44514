package cluster

import (
	"crypto/rand"
	"encoding/json"
	"fmt"

	"cairn/cluster/link"
)

// secrets is what the cluster keeps sealed in the controller's state: every
// member can open it with the cluster key it was handed at its join, so any of
// them can admit the next node and sign team tokens when the founder is gone.
type secrets struct {
	CAKey    []byte     `json:"ca_key"` // PKCS #8
	TeamKeys [][32]byte `json:"team_keys"`
}

// sealed binds the ciphertext to its cluster and use.
func sealed(cluster string) []byte { return []byte("cairn/secrets/1/" + cluster) }

func newSecrets(a *link.Authority) *secrets {
	s := &secrets{CAKey: a.Key(), TeamKeys: make([][32]byte, 1)}
	rand.Read(s.TeamKeys[0][:])
	return s
}

func (s *secrets) seal(clusterKey [32]byte, cluster string) ([]byte, error) {
	raw, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	return link.Seal(clusterKey, raw, sealed(cluster)), nil
}

func openSecrets(clusterKey [32]byte, cluster string, box []byte) (*secrets, error) {
	raw, err := link.Unseal(clusterKey, box, sealed(cluster))
	if err != nil {
		return nil, fmt.Errorf("open the cluster's secrets: %w", err)
	}
	var s secrets
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, fmt.Errorf("read the cluster's secrets: %w", err)
	}
	return &s, nil
}
