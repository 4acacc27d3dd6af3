package publish

import (
	"context"
	"fmt"
)

// Newest reads the last message of each of these folders of a mailbox, by token, as the stream's leader has it; a folder
// without one is left out. It is for whoever looks on: what it returns need not be of one moment as with Recover, so it has an
// answer however fast the chain moves.
func (p *Publisher) Newest(ctx context.Context, mailbox string, folders []string) (map[string]Last, error) {
	newest := make(map[string]Last, len(folders))
	for _, folder := range folders {
		if err := checkTokens("mailbox", mailbox, "folder", folder); err != nil {
			return nil, err
		}
		m, err := p.last(ctx, folderFilter(mailbox, folder))
		if err != nil {
			return nil, fmt.Errorf("read the last event of mailbox %s, folder %s: %w", mailbox, folder, err)
		}
		if m.Seq > 0 {
			newest[folder] = m.position()
		}
	}
	return newest, nil
}

// position is what is kept of the last message of a folder.
func (m stored) position() Last {
	return Last{Seq: m.Seq, ID: m.Header.Get(headerID), Position: m.Header.Get(headerPosition), Time: m.Time}
}
