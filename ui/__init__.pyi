from .cli import main as main
from .errors import CoinCliError as CoinCliError
from .service import Service as Service
from .settings import SETTINGS as SETTINGS
from .settings import Setting as Setting
from .settings import Settings as Settings
from .settings import settings_table as settings_table
