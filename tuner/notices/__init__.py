"""What people are told of a search: messages to web addresses and by e-mail."""

from tuner.notices.announcements import Announcement, NoticeKind
from tuner.notices.announcer import Announcer, announcer
from tuner.notices.receivers import check_addresses

__all__ = ["Announcement", "Announcer", "NoticeKind", "announcer", "check_addresses"]
