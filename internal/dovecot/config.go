package dovecot

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// The configuration of a private instance of Dovecot 2.3. The anvil penalty is off, because it would delay every login
// after a refused one.
const config = `base_dir = DIR/run
state_dir = DIR/run
instance_name = mailflume-test
login_greeting = Dovecot ready in DIR.
log_path = DIR/dovecot.log
info_log_path = DIR/dovecot.log
protocols = imap
listen = 127.0.0.1
ssl = yes
ssl_cert = <DIR/cert.pem
ssl_key = <DIR/key.pem
disable_plaintext_auth = no
auth_mechanisms = plain login xoauth2 oauthbearer
auth_username_format = %Lu
auth_cache_size = 0
auth_failure_delay = 0 secs
auth_verbose = yes
passdb {
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = DIR/oauth2.conf.ext
}
passdb {
  driver = static
  mechanisms = plain login
  args = password=PASSWORD
}
userdb {
  driver = static
  args = uid=UID gid=GID home=DIR/mail/%u allow_all_users=yes
}
first_valid_uid = 1
last_valid_uid = 0
first_valid_gid = 1
last_valid_gid = 0
mail_location = maildir:~/Maildir
mailbox_list_index = yes
mail_max_userip_connections = 100000
mail_fsync = never
namespace inbox {
  inbox = yes
  separator = /
  mailbox Drafts {
    special_use = \Drafts
    auto = create
  }
  mailbox Sent {
    special_use = \Sent
    auto = create
  }
  mailbox Junk {
    special_use = \Junk
    auto = create
  }
  mailbox Trash {
    special_use = \Trash
    auto = create
  }
  mailbox Archive {
    special_use = \Archive
    auto = create
  }
}
# In IDLE a folder is looked at so often where there is no inotify: a kernel has few instances of it for all programs of a user.
mailbox_idle_check_interval = 1 secs
protocol imap {
  imap_metadata = no
}
default_client_limit = 5000
default_process_limit = 2000
default_vsz_limit = 1G
service anvil {
  client_limit = 10000
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service auth {
  client_limit = 10000
}
service imap-login {
  chroot =
  service_count = 0
  process_min_avail = 1
  process_limit = 2
  client_limit = 4000
  inet_listener imap {
    port = PORT
  }
  inet_listener imaps {
    port = TLSPORT
    ssl = yes
  }
}
service imap {
  process_limit = 3000
}
service stats {
  client_limit = 10000
}
`

// The additions for an instance that root does not start: one user for all, and no chroot.
const notRoot = `default_internal_user = USER
default_internal_group = GROUP
default_login_user = USER
service anvil {
  chroot =
}
service stats {
  chroot =
}
service auth-worker {
  user = USER
}
`

const oauth2Config = `introspection_mode = post
introspection_url = http://ENDPOINT/introspect
client_id = dovecot
client_secret = dovecot
active_attribute = active
active_value = true
username_attribute = username
use_grant_password = no
timeout_msecs = 10000
max_idle_time_msecs = 60000
max_parallel_connections = 10
max_pipelined_requests = 1
`

func (s *Server) writeConfig(endpoint, port, tlsPort string, o Options) error {
	who, err := owner()
	if err != nil {
		return fmt.Errorf("find the owner of the mail: %w", err)
	}
	group, err := user.LookupGroupId(who.Gid)
	if err != nil {
		return fmt.Errorf("find the group of the mail: %w", err)
	}
	text := config
	if os.Geteuid() != 0 {
		text += notRoot
	}
	fill := strings.NewReplacer("TLSPORT", tlsPort, "PORT", port, "DIR", s.dir,
		"PASSWORD", o.Password, "UID", who.Uid, "GID", who.Gid, "USER", who.Username, "GROUP", group.Name)
	for name, text := range map[string]string{
		"dovecot.conf":    fill.Replace(text) + o.Config,
		"oauth2.conf.ext": strings.ReplaceAll(oauth2Config, "ENDPOINT", endpoint),
	} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("write configuration: %w", err)
		}
	}
	for _, name := range []string{"run", "mail"} {
		if err := os.MkdirAll(filepath.Join(s.dir, name), 0o755); err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
	}
	if os.Geteuid() != 0 {
		return nil
	}
	uid, _ := strconv.Atoi(who.Uid)
	gid, _ := strconv.Atoi(who.Gid)
	return os.Chown(filepath.Join(s.dir, "mail"), uid, gid)
}
