# What "@kura switch" needs of PowerShell, to change this shell. All other commands
# are the program's alone.
function @kura {
    $program = (Get-Command @kura -CommandType Application | Select-Object -First 1).Source
    if ($args.Count -eq 0 -or $args[0] -ne 'switch') {
        if ($MyInvocation.ExpectingInput) { $input | & $program @args } else { & $program @args }
        return
    }
    try {
        $Env:KURA_SWITCH = 'powershell'
        $Env:KURA_SWITCH_FORMER = $global:_kura_former
        $text = (& $program @args) -join "`n"
    } finally {
        Remove-Item -ErrorAction SilentlyContinue Env:KURA_SWITCH, Env:KURA_SWITCH_FORMER
    }
    if ($text.StartsWith("#kura`n")) { Invoke-Expression $text } elseif ($text) { $text }
}
