# Completion of @kura for PowerShell.

$__kuraComplete = {
    param($wordToComplete, $commandAst, $cursorPosition)
    $words = @($commandAst.CommandElements |
        Where-Object { $_.Extent.EndOffset -lt $cursorPosition -or ($_.Extent.EndOffset -eq $cursorPosition -and "$wordToComplete" -eq '') } |
        ForEach-Object { if ($_ -is [System.Management.Automation.Language.StringConstantExpressionAst]) { $_.Value } else { $_.Extent.Text } })
    $program = $words[0]
    $rest = @($words | Select-Object -Skip 1)
    if ($rest -contains '--') { return }

    # Before 7.3 an argument that is empty is not passed on.
    $last = "$wordToComplete".Trim("'", '"')
    if ($last -eq '' -and ($PSVersionTable.PSVersion -lt [version]'7.3' -or $PSNativeCommandArgumentPassing -eq 'Legacy')) { $last = '""' }
    if (-not (Get-Command $program -CommandType Application -ErrorAction SilentlyContinue)) { $program = '@kura' }
    $program = (Get-Command $program -CommandType Application | Select-Object -First 1).Source
    $lead = ''
    if ($last -match '^(-[^=]*=)') { $lead = $Matches[1] }
    $lines = @(& $program __complete @rest $last 2>$null)
    foreach ($line in $lines) {
        if ($line.StartsWith(':')) { continue }
        $value, $about = $line -split "`t", 2
        $value = $lead + $value
        if (-not $value.StartsWith($last.Trim('"'), [StringComparison]::OrdinalIgnoreCase)) { continue }
        $text = $value
        if ($value -match '[^\w./@%+=:-]') { $text = "'" + $value.Replace("'", "''") + "'" }
        if (-not $about) { $about = $value }
        [System.Management.Automation.CompletionResult]::new($text, $value, 'ParameterValue', $about)
    }
}
Register-ArgumentCompleter -Native -CommandName 'kura', 'kura.exe', 'aws-vault', 'aws-vault.exe' -ScriptBlock $__kuraComplete
